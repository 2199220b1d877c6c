package main

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/warren-gateway/warren/cmd/conformance/contract"
)

// TestBoundsAreTheDefaultsOfTheSpecifications holds the flags of the group Bounds and x-defaults to each other, both ways.
func TestBoundsAreTheDefaultsOfTheSpecifications(t *testing.T) {
	c, err := contract.Load()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{}
	for _, d := range c.Tables().Defaults {
		want[d.Flag] = d.Default
	}
	got := map[string]float64{}
	cfg := reflect.ValueOf(defaultConfig())
	for i := range cfg.NumField() {
		field := cfg.Type().Field(i)
		if field.Tag.Get("group") != "Bounds" {
			continue
		}
		var value float64
		switch v := cfg.Field(i).Interface().(type) {
		case time.Duration:
			value = v.Seconds()
		case int:
			value = float64(v)
		case int64:
			value = float64(v)
		case float64:
			value = v
		default:
			t.Fatalf("%s is a %T", field.Name, v)
		}
		got["--"+strings.ReplaceAll(field.Tag.Get("koanf"), "_", "-")] = value
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("flags and x-defaults differ:\n got %v\nwant %v", sortedBounds(got), sortedBounds(want))
	}
}

func sortedBounds(bounds map[string]float64) []string {
	out := make([]string, 0, len(bounds))
	for name, value := range bounds {
		out = append(out, fmt.Sprint(name, "=", value))
	}
	slices.Sort(out)
	return out
}
