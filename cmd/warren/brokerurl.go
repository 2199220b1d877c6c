package main

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// errBrokerURL repeats nothing of the URL: what cannot be read as one may be a password in any place.
var errBrokerURL = errors.New("--broker: not a URL; want amqp(s)://user:password@host:port/vhost, special characters of the password as %XX")

// checkBrokerURL answers what is wrong with the URL of a broker. It is stricter than
// url.Parse, which takes a password with #, / or ? in it for a port, a path or a query:
// then pieces of it would be printed, and looked up as the name of a host.
func checkBrokerURL(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return errBrokerURL
	case u.Scheme == "memory":
		if raw != "memory://" && raw != "memory:" {
			return errors.New("--broker memory:// takes nothing after it")
		}
	case u.Scheme != "amqp" && u.Scheme != "amqps":
		return fmt.Errorf("--broker: scheme %q: want memory://, amqp:// or amqps://", u.Scheme)
	case u.Opaque != "" || u.Hostname() == "" || u.Fragment != "" || strings.Contains(u.EscapedPath()+u.RawQuery, "@"):
		return errBrokerURL
	}
	return nil
}

// maskURL hides the password of a broker's URL, and its parameters.
func maskURL(raw string) string {
	u, err := url.Parse(raw)
	switch {
	case err != nil || checkBrokerURL(raw) != nil:
		return "(not a URL)"
	case u.Scheme == "memory":
		return raw
	}
	u.RawQuery, u.ForceQuery = "", false
	return u.Redacted()
}

// maskWebURL is a URL that may hold a password or a key, for people to read. A user
// without a password is masked, too: a token may be given so.
func maskWebURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" || strings.Contains(u.EscapedPath(), "@") {
		return "(not a URL)"
	}
	if u.RawQuery != "" {
		u.RawQuery = "xxxxx"
	}
	if u.Fragment != "" {
		u.Fragment, u.RawFragment = "xxxxx", ""
	}
	if _, password := u.User.Password(); u.User != nil && !password {
		u.User = url.User("xxxxx")
	}
	return u.Redacted()
}

// maskStray is a text that stands where no URL belongs, for people to read: what
// may be one with a password all the same is masked, or not repeated.
func maskStray(text string) string {
	switch {
	case !strings.Contains(text, "@") && !strings.Contains(text, "://"):
		return text
	case checkBrokerURL(text) == nil:
		return maskURL(text)
	}
	return "(a URL?)"
}
