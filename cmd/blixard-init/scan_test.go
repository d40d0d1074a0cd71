package main

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestScannerCutsObjectsOutOfAnyStream(t *testing.T) {
	long := `{"a":"` + strings.Repeat("x", maxRequest) + `"}`
	for _, c := range []struct {
		name, in string
		want     []string
	}{
		{"two on a line", `{"a":1}{"b":2}`, []string{`{"a":1}`, `{"b":2}`}},
		{"nested, with braces in text", `{"a":{"b":"}{\"}"}}`, []string{`{"a":{"b":"}{\"}"}}`}},
		{"junk around", "]x\n{}\x00", []string{`{}`}},
		{"torn, then resynchronised", "{\"a\":\"\xff{\"b\":2}", []string{`{"b":2}`}},
		{"too long, then one that isn't", long + `{"b":2}`, []string{`{"b":2}`}},
		{"truncated", `{"a":`, nil},
		{"nothing", "", nil},
	} {
		for _, step := range []int{1, 3, len(c.in) + 1} {
			var s scanner
			var got []string
			for in := []byte(c.in); len(in) > 0; in = in[min(step, len(in)):] {
				s.feed(in[:min(step, len(in))], func(b []byte) { got = append(got, string(b)) })
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("%s, %d bytes at a time: %q, want %q", c.name, step, got, c.want)
			}
		}
	}
}

func TestWordsOfTheCommandLine(t *testing.T) {
	for _, c := range []struct {
		in   string
		want words
	}{
		{"", words{beat: defaultBeat}},
		{"quiet blixard.beat=0\n", words{}},
		{"blixard.beat=-5s", words{}},
		{"blixard.beat=soon blixard.fault=nonsense,panic@never", words{beat: defaultBeat}},
		{"blixard.beat=1s blixard.fault=panic@5s,silent", words{beat: time.Second, faults: []fault{{"panic", 5 * time.Second}, {"silent", 0}}}},
	} {
		if got := parseWords(c.in); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: %+v, want %+v", c.in, got, c.want)
		}
	}
}
