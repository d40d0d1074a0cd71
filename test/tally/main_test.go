package main

import (
	"bytes"
	"strings"
	"testing"
)

const recorded = `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestB","Output":"    b_test.go:7: no QEMU here\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"--- SKIP: TestB (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestB"}
not json
{"Action":"output","Package":"p","Test":"TestC","Output":"    c_test.go:9: it broke\n"}
{"Action":"fail","Package":"p","Test":"TestC"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}
{"Action":"fail","Package":"p"}
{"Action":"output","Package":"q","Output":"ok  \tq\t0.1s\n"}
{"Action":"pass","Package":"q"}
{"Action":"output","Package":"r","Test":"TestHangs","Output":"    waits for ever\n"}
{"Action":"output","Package":"r","Output":"panic: test timed out\n"}
{"Action":"fail","Package":"r"}
`

func TestSkipsAreToldWithTheirReasonAndCounted(t *testing.T) {
	var out bytes.Buffer
	c := newCount(&out)
	if err := c.read(strings.NewReader(recorded)); err != nil {
		t.Fatal(err)
	}
	if c.Passed != 1 || c.Failed != 2 || c.Skipped != 1 {
		t.Errorf("counted %d passed, %d failed, %d skipped; want 1, 2 and 1", c.Passed, c.Failed, c.Skipped)
	}
	for _, want := range []string{"skipped: TestB: b_test.go:7: no QEMU here\n", "c_test.go:9: it broke\n", "not json\n", "timed out", "waits for ever", "FAIL\tp", "ok  \tq"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "RUN") {
		t.Errorf("the output of a test that passed is printed:\n%s", out.String())
	}
}
