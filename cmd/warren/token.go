package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/spf13/pflag"

	"github.com/warren-gateway/warren/api/identity"
)

const tokenHelp = `Usage: warren token --key FILE --sub NAME [--bind EXCHANGE=PATTERN …] [FLAGS]

Signs a token for trying and tests, and prints it. The key is the private half of
what the gateway checks with (warren serve --jwt-key):

  openssl genpkey -algorithm ed25519 -out key.pem
  openssl pkey -in key.pem -pubout -out public.pem
  warren serve --demo --jwt-key public.pem
  TOKEN=$(warren token --key key.pem --sub alice --bind 'builds=linux.#' --bind 'deploys=#')
  curl -N -H "Authorization: Bearer $TOKEN" 'http://127.0.0.1:8080/v1/sse?exchange=deploys'

EXCHANGE is a glob (* is any run of characters), PATTERN an AMQP topic pattern
(* is one word, # any number of words); without =PATTERN it is #.

`

// token signs a token and prints it.
func token(_ context.Context, p process) error {
	flags := pflag.NewFlagSet("token", pflag.ContinueOnError)
	flags.SetOutput(p.stderr)
	flags.SortFlags = false
	var opts identity.MintOptions
	flags.StringVar(&opts.KeyFile, "key", "", "file with the private key (PEM or JWK), or with --hs256 the secret")
	flags.BoolVar(&opts.HS256, "hs256", false, "the file holds a shared secret")
	flags.StringVar(&opts.Subject, "sub", "", "who the token is for")
	flags.DurationVar(&opts.TTL, "ttl", time.Hour, "how long it is good for")
	binds := flags.StringArray("bind", nil, "EXCHANGE=PATTERN that it grants; repeat for more; none: nothing may be bound")
	flags.IntVar(&opts.MaxSubscriptions, "max-subscriptions", 0, "subscriptions it may own, below the gateway's own bound; 0 says nothing")
	flags.StringVar(&opts.Audience, "audience", "", "aud")
	flags.StringVar(&opts.Issuer, "issuer", "", "iss")
	flags.Usage = func() { fmt.Fprint(p.stdout, tokenHelp, flags.FlagUsages()) }
	if err := flags.Parse(p.args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return err
		}
		return usageError("%w (see warren token --help)", err)
	}
	if flags.NArg() > 0 {
		return usageError("token takes flags only, not %q", flags.Arg(0))
	}
	if opts.KeyFile == "" {
		return usageError("--key is missing: the file with the private key (see warren token --help)")
	}
	if opts.Subject == "" {
		return usageError("--sub is missing: who the token is for (see warren token --help)")
	}
	for _, b := range *binds {
		grant, err := identity.ParseGrant(b)
		if err != nil {
			return usageError("--bind %q: %w", b, err)
		}
		opts.Grants = append(opts.Grants, grant)
	}
	signed, err := identity.Mint(opts)
	if errors.Is(err, identity.ErrKey) || errors.Is(err, fs.ErrNotExist) {
		return usageError("--key: %w", err)
	}
	if err != nil {
		return usageError("%w", err)
	}
	_, err = fmt.Fprintln(p.stdout, string(signed))
	return err
}
