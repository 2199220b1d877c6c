package main

import (
	"reflect"
	"strings"
	"time"
)

// field is one member of Config with what its tags say.
type field struct {
	key   string // in the file
	flag  string
	env   string
	group string
	help  string
	value reflect.Value
}

// configFields lists the members of the configuration, in their order.
func configFields(c *Config) []field {
	v := reflect.ValueOf(c).Elem()
	fields := make([]field, 0, v.NumField())
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		key := tag.Get("koanf")
		fields = append(fields, field{
			key:   key,
			flag:  strings.ReplaceAll(key, "_", "-"),
			env:   envPrefix + strings.ToUpper(key),
			group: tag.Get("group"),
			help:  tag.Get("help"),
			value: v.Field(i),
		})
	}
	return fields
}

// wants says what may be given.
func (f field) wants() string {
	switch f.value.Interface().(type) {
	case time.Duration:
		return "a duration with its unit, as 15s"
	case int, int64:
		return "a whole number"
	case float64:
		return "a number"
	case bool:
		return "true or false"
	case []string:
		return "a list of texts, as [a, b]"
	}
	return "a text, in quotes where YAML takes it for something else"
}

// positive reports whether a number is above zero; what is no number is.
func (f field) positive() bool {
	switch {
	case f.value.CanInt():
		return f.value.Int() > 0
	case f.value.CanFloat():
		return f.value.Float() > 0
	}
	return true
}

// wholeSeconds reports whether a linger can be told to clients, who know it as
// linger_seconds, from 1 on. Other durations stay in the gateway.
func (f field) wholeSeconds() bool {
	return !strings.HasSuffix(f.key, "linger") || f.value.Int()%int64(time.Second) == 0
}

// display returns the value as a person writes it.
func (f field) display() any {
	switch v := f.value.Interface().(type) {
	case time.Duration:
		return v.String()
	default:
		return v
	}
}
