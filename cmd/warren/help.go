package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"reflect"
	"strings"
)

// printServeHelp teaches what serve can be told, group by group, from Config's own tags.
func printServeHelp(w io.Writer, defaults *Config) {
	fmt.Fprint(w, `Usage: warren serve [FLAGS]

Runs the gateway. Without flags it serves on loopback with a broker of its own in
memory, which can be published to over HTTP; --broker connects it to RabbitMQ.

  warren serve --demo
  warren serve --broker amqp://user:password@rabbit.example.org:5672/vhost
  warren serve --broker amqps://… --listen :8443 --tls-cert cert.pem --tls-key key.pem \
               --jwks-url https://login.example.org/jwks.json --allow-origin https://app.example.org

Every flag can also stand in the file that --config names (YAML, _ for -) or in the
environment (WARREN_ and the flag in capitals, _ for -; lists with commas). Flags win
over the environment, the environment over the file, the file over the defaults.

  --config FILE     read the file (WARREN_CONFIG)
  --print-config    print the configuration as it would be used, and stop
`)
	group := ""
	for _, f := range configFields(defaults) {
		if f.group != group {
			group = f.group
			fmt.Fprintf(w, "\n%s\n", group)
		}
		value := fmt.Sprint(f.display())
		if list, ok := reflect.TypeAssert[[]string](f.value); ok {
			value = strings.Join(list, ",")
		}
		if value == "" || value == "false" {
			fmt.Fprintf(w, "  --%s\n        %s\n", f.flag, f.help)
			continue
		}
		fmt.Fprintf(w, "  --%s\n        %s (default %s)\n", f.flag, f.help, value)
	}
}

// randomName returns n random lower-case letters and digits.
func randomName(n int) string {
	const digits = "abcdefghijklmnopqrstuvwxyz234567" // 32: a byte's low bits choose evenly
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails since Go 1.24
	for i := range b {
		b[i] = digits[b[i]&31]
	}
	return string(b)
}
