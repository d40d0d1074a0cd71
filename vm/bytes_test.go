package vm

import "testing"

func TestSizesAreExactOrRounded(t *testing.T) {
	for b, want := range map[Bytes][2]string{
		0: {"0B", "0B"}, 1023: {"1023B", "1023B"}, KiB: {"1KiB", "1KiB"}, 1536: {"1536B", "1.5KiB"}, 96 * MiB: {"96MiB", "96MiB"},
		1280 * MiB: {"1280MiB", "1.2GiB"}, GiB: {"1GiB", "1GiB"}, 3 * 1024 * GiB / 2: {"1536GiB", "1.5TiB"}, -256 * MiB: {"-256MiB", "-256MiB"},
	} {
		if got := [2]string{b.String(), b.Rounded()}; got != want {
			t.Errorf("%d bytes are %q, want %q", b, got, want)
		}
	}
}
