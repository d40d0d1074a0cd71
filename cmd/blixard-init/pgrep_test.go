package main

import (
	"os"
	"strings"
	"testing"
)

func TestPgrepCountsByName(t *testing.T) {
	comm, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	self := strings.TrimSpace(string(comm))
	for _, tt := range []struct {
		args string
		code int
		out  string
	}{
		{"-c -x no-such-name", 1, "0\n"},
		{"-x " + self, 2, ""},
		{"-c -x", 2, ""},
	} {
		var b strings.Builder
		if code := pgrep(&b, strings.Fields(tt.args)); code != tt.code || b.String() != tt.out {
			t.Errorf("pgrep %s: %d %q, want %d %q", tt.args, code, b.String(), tt.code, tt.out)
		}
	}
	var b strings.Builder
	first, err := os.ReadFile("/proc/1/comm")
	if err != nil {
		t.Skip("no process 1 can be seen here:", err)
	}
	if code := pgrep(&b, []string{"-c", "-x", strings.TrimSpace(string(first))}); code != 0 {
		t.Errorf("process 1 was not counted: %d %q", code, b.String())
	}
}
