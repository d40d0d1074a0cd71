package specfile

import (
	"math/big"
	"strings"

	"github.com/blixard/blixard/vm"
)

var sizeUnits = map[string]int64{
	"": 1, "B": 1,
	"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
	"kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
}

// ParseSize reads "256MiB", "1.5GiB" or plain bytes. The units "M" and "G" mean
// one thing to QEMU and another to a disk's maker, so they are refused.
func ParseSize(s string) (vm.Bytes, *vm.Refusal) {
	digits := len(s) - len(strings.TrimLeft(s, "0123456789."))
	number, unit := s[:digits], strings.TrimSpace(s[digits:])
	refusal := &vm.Refusal{Code: vm.Invalid, Why: cut(s) + " is no size", Try: "256MiB"}
	if number == "" || len(number) > 20 {
		return 0, refusal
	}
	factor, ok := sizeUnits[unit]
	if !ok {
		refusal.Why = "the unit " + cut(unit) + " is not known, did you mean " + likelyUnit(unit) + "? Units are B, KiB, MiB, GiB, TiB, kB, MB, GB, TB"
		refusal.Try = number + likelyUnit(unit)
		return 0, refusal
	}
	v, ok := new(big.Rat).SetString(number)
	if !ok {
		return 0, refusal
	}
	v.Mul(v, new(big.Rat).SetInt64(factor))
	if !v.IsInt() || !v.Num().IsInt64() {
		refusal.Why = cut(s) + " is no whole number of bytes below 8 EiB"
		return 0, refusal
	}
	return vm.Bytes(v.Num().Int64()), nil
}

func likelyUnit(unit string) string {
	if unit == "" {
		return "MiB"
	}
	switch unit[0] {
	case 'k', 'K':
		return "KiB"
	case 'g', 'G':
		return "GiB"
	case 't', 'T':
		return "TiB"
	}
	return "MiB"
}
