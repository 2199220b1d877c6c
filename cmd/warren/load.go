package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
	yamlv3 "go.yaml.in/yaml/v3"
)

const envPrefix = "WARREN_"

// serviceLink and servicePort match what Kubernetes puts into every pod beside a
// Service that is called warren or warren-admin, and Docker's links into a
// container: WARREN_ADMIN_SERVICE_HOST, WARREN_PORT_80_TCP_ADDR, and such as
// WARREN_PORT=tcp://10.0.0.1:80, which only its value tells from a mistake.
var (
	serviceLink = regexp.MustCompile(`^WARREN_((\w+_)?SERVICE_(HOST|PORT)|(\w+_)?PORT_\d+_(TCP|UDP|SCTP))(_|$)`)
	servicePort = regexp.MustCompile(`^WARREN_(\w+_)?PORT=(tcp|udp|sctp)://`)
)

// notSetting are entries of the environment with our prefix that are no members
// of Config: the file's name, the token of warren listen, what the tests of warren
// use, and what others make of a service's name.
func notSetting(name, entry string) bool {
	return name == envPrefix+"CONFIG" || name == envPrefix+"TOKEN" ||
		strings.HasPrefix(name, envPrefix+"TEST_") || serviceLink.MatchString(name) || servicePort.MatchString(entry)
}

// configFlags adds a flag for each member of the configuration.
func configFlags(flags *pflag.FlagSet, defaults *Config) {
	for _, f := range configFields(defaults) {
		switch v := f.value.Interface().(type) {
		case string:
			flags.String(f.flag, v, f.help)
		case bool:
			flags.Bool(f.flag, v, f.help)
		case int:
			flags.Int(f.flag, v, f.help)
		case int64:
			flags.Int64(f.flag, v, f.help)
		case float64:
			flags.Float64(f.flag, v, f.help)
		case time.Duration:
			flags.Duration(f.flag, v, f.help)
		case []string:
			flags.StringArray(f.flag, v, f.help)
		}
	}
}

// loadConfig puts the configuration together: defaults, then the file, then the
// environment, then the flags that were given. A key that does not exist is an
// error wherever it stands, because a bound that is misspelt is no bound.
func loadConfig(flags *pflag.FlagSet, configFile string, env []string) (Config, error) {
	cfg := defaultConfig()
	k := koanf.New(".")
	if configFile != "" {
		if err := k.Load(file.Provider(configFile), oneDocument{yaml.Parser()}); err != nil {
			return cfg, fmt.Errorf("reading --config %s: %w", configFile, err)
		}
		if err := checkKeys(&cfg, k.Raw()); err != nil {
			return cfg, fmt.Errorf("%s: %w", configFile, err)
		}
	}
	fromEnv, err := envValues(&cfg, env)
	if err != nil {
		return cfg, err
	}
	if err := k.Load(confmap.Provider(fromEnv, ""), nil); err != nil {
		return cfg, fmt.Errorf("reading the environment: %w", err)
	}
	fromFlags := flagValues(&cfg, flags)
	if err := k.Load(confmap.Provider(fromFlags, ""), nil); err != nil {
		return cfg, fmt.Errorf("reading the flags: %w", err)
	}
	return cfg, decodeValues(&cfg, k.Raw(), func(f field) origin {
		if _, found := fromFlags[f.key]; found {
			return origin{name: "--" + f.flag, text: true}
		}
		if _, found := fromEnv[f.key]; found {
			return origin{name: f.env, text: true}
		}
		return origin{name: configFile + ": " + f.key}
	})
}

// oneDocument parses a file as koanf's parser does, which would let all after the first document pass unread.
type oneDocument struct{ *yaml.YAML }

// Unmarshal implements koanf.Parser.
func (p oneDocument) Unmarshal(b []byte) (map[string]any, error) {
	values, err := p.YAML.Unmarshal(b)
	if err != nil {
		return nil, err
	}
	documents := yamlv3.NewDecoder(bytes.NewReader(b))
	for range 2 {
		var document any
		err := documents.Decode(&document)
		switch {
		case errors.Is(err, io.EOF):
			return values, nil
		case err != nil:
			return nil, err
		}
	}
	return nil, errors.New("it has a second document, below ---: the settings are one")
}

// origin is where a value stands.
type origin struct {
	name string
	text bool // there is nothing but text there: numbers are read from it. YAML has types
}

// decodeValues sets the members of cfg one by one, so that an error can say which it
// is and, by from, where it stands. Flags have been checked when they were parsed.
func decodeValues(cfg *Config, values map[string]any, from func(field) origin) error {
	var errs []error
	for _, f := range configFields(cfg) {
		value := values[f.key]
		if value == nil { // a key without a value is as good as none: the default stays
			continue
		}
		place := from(f)
		hooks := []mapstructure.DecodeHookFunc{durationHook}
		if !place.text {
			hooks = append(hooks, typedHook)
		}
		decoder, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
			Result: f.value.Addr().Interface(), WeaklyTypedInput: place.text, ZeroFields: true,
			DecodeHook: mapstructure.ComposeDecodeHookFunc(hooks...),
		})
		if err != nil {
			return fmt.Errorf("configuration: %w", err)
		}
		if decoder.Decode(value) != nil { // its text names Go's types, and may hold a password
			errs = append(errs, fmt.Errorf("%s: want %s", place.name, f.wants()))
		}
	}
	return errors.Join(errs...)
}

// durationHook reads durations as Go writes them. A bare number is refused: as a
// number of nanoseconds it would never be what was meant.
func durationHook(_, to reflect.Type, data any) (any, error) {
	if to != reflect.TypeFor[time.Duration]() {
		return data, nil
	}
	switch v := data.(type) {
	case time.Duration:
		return v, nil
	case string:
		return time.ParseDuration(v)
	}
	return nil, errors.New("a duration has a unit")
}

// typedHook refuses numbers that mapstructure would cut to fit, weakly typed or not:
// 4096.7 for a whole number, and what is beyond 64 bits.
func typedHook(_, to reflect.Type, data any) (any, error) {
	if to.Kind() != reflect.Int && to.Kind() != reflect.Int64 {
		return data, nil
	}
	switch data.(type) {
	case int, int64, time.Duration:
		return data, nil
	}
	return nil, errors.New("not a whole number")
}

// checkKeys refuses keys that are no members of the configuration.
func checkKeys(cfg *Config, raw map[string]any) error {
	fields := configFields(cfg)
	var errs []error
	for key := range raw {
		if !slices.ContainsFunc(fields, func(f field) bool { return f.key == key }) {
			errs = append(errs, fmt.Errorf("unknown key %q%s", maskStray(key), suggestion(fields, key)))
		}
	}
	return errors.Join(errs...)
}

// suggestion names the key that was meant, where only its spelling differs.
func suggestion(fields []field, key string) string {
	plain := strings.NewReplacer("-", "", "_", "")
	for _, f := range fields {
		if strings.EqualFold(plain.Replace(f.key), plain.Replace(key)) {
			return fmt.Sprintf(" (did you mean %q?)", f.key)
		}
	}
	return ""
}

// envValues reads WARREN_… variables; lists are separated by commas.
func envValues(cfg *Config, env []string) (map[string]any, error) {
	fields := configFields(cfg)
	values := map[string]any{}
	var errs []error
	for _, entry := range env {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, envPrefix) || notSetting(name, entry) {
			continue
		}
		i := slices.IndexFunc(fields, func(f field) bool { return f.env == name })
		if i < 0 {
			errs = append(errs, fmt.Errorf("unknown environment variable %s (see warren serve --help)", name))
			continue
		}
		if _, list := reflect.TypeAssert[[]string](fields[i].value); list {
			values[fields[i].key] = splitList(value)
			continue
		}
		values[fields[i].key] = value
	}
	return values, errors.Join(errs...)
}

func splitList(value string) []string {
	out := []string{}
	for part := range strings.SplitSeq(value, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// flagValues returns the flags that were given on the command line.
func flagValues(cfg *Config, flags *pflag.FlagSet) map[string]any {
	values := map[string]any{}
	for _, f := range configFields(cfg) {
		given := flags.Lookup(f.flag)
		if given == nil || !given.Changed {
			continue
		}
		if list, ok := given.Value.(pflag.SliceValue); ok {
			values[f.key] = list.GetSlice()
			continue
		}
		values[f.key] = given.Value.String()
	}
	return values
}

// printConfig writes the configuration as a file that --config reads, with the
// broker's password and what may be a secret in URLs masked.
func printConfig(w io.Writer, cfg *Config) error {
	var sb strings.Builder
	group := ""
	for _, f := range configFields(cfg) {
		if f.group != group {
			group = f.group
			fmt.Fprintf(&sb, "# %s\n", group)
		}
		value := f.display()
		switch f.key {
		case "broker":
			value = maskURL(cfg.Broker)
		case "jwks_url":
			value = maskWebURL(cfg.JWKSURL)
		}
		line, err := yaml.Parser().Marshal(map[string]any{f.key: value})
		if err != nil {
			return fmt.Errorf("printing %s: %w", f.key, err)
		}
		sb.Write(line)
	}
	_, err := io.WriteString(w, sb.String())
	return err
}
