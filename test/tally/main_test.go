package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
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

// What failed is said once more at the end, without what was only logged, and
// short: the story of a failed test may be longer than what CI shows of it.
func TestWhyATestFailedIsSaidLast(t *testing.T) {
	folder := t.TempDir()
	source := "package p\n\tt.Logf(\"the story\")\n\tt.Errorf(\"broke\")\n\tw.must(err)\n"
	if err := os.WriteFile(filepath.Join(folder, "c_test.go"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	output := []string{
		"=== RUN   TestC\n", "    c_test.go:3: broke\n", "        in two lines\n", "some word of its own\n", "        not of it\n",
		"    c_test.go:2: the story:\n", "        c_test.go:3: quoted\n", "    c_test.go:4: " + strings.Repeat("ä", 400) + "\n",
		"    testing.go:1712: race detected\n", "panic: no more\n", "    c_test.go:3: fifth\n", "    c_test.go:3: sixth\n", "        of it\n",
		"--- FAIL: TestC (0.00s)\n",
	}
	got := why(folder, "TestC", output)
	want := []string{
		"TestC: c_test.go:3: broke in two lines", "TestC: c_test.go:4: " + strings.Repeat("ä", 300-len("TestC: c_test.go:4: ")) + "…",
		"TestC: testing.go:1712: race detected", "TestC: panic: no more", "TestC: c_test.go:3: fifth",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestReasonsOfAllRunsEndTheTotal(t *testing.T) {
	var out bytes.Buffer
	c := newCount(&out)
	if err := c.read(strings.NewReader(recorded)); err != nil {
		t.Fatal(err)
	}
	into := t.TempDir()
	if err := c.keep(filepath.Join(into, "race.json")); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if err := addUp(into, &out); err != nil {
		t.Fatal(err)
	}
	want := "why: TestC: c_test.go:9: it broke\n" +
		"why: r: failed outside of its tests, or with the whole process\n" +
		"1 passed, 2 failed, 1 skipped\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}
