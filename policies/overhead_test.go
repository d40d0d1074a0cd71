package policies_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

func TestShapesOfVMMs(t *testing.T) {
	bare := vm.Spec{Name: "x", CPUs: 1, Memory: 8 * vm.MiB, Boot: vm.Boot{Kernel: "/k"}}
	larger, asking, answering, firmware, built := bare, bare, bare, bare, bare
	answering.Health = []vm.Check{{Type: vm.CheckAgent}} // its port is a device
	larger.Memory, asking.Boot.Cmdline, firmware.Boot, built.Boot = 64*vm.MiB, "console=ttyS0", vm.Boot{Disk: "/d"}, vm.Boot{Runner: "/r"}
	for _, one := range []struct {
		spec  vm.Spec
		accel string
		want  policies.Shape
	}{
		{bare, "tcg", "bare/tcg"},
		{bare, "kvm", "bare/kvm"},
		{larger, "kvm", "direct/kvm"},
		{asking, "probing", "direct/tcg"},
		{answering, "tcg", "direct/tcg"},
		{vm.Spec{Name: "x"}.Filled(), "", "direct/tcg"},
		{firmware, "tcg", "firmware/tcg"},
		{built, "kvm", "runner/kvm"},
	} {
		if got := policies.ShapeOf(one.spec, one.accel); got != one.want {
			t.Errorf("%+v by %q is %s, want %s", one.spec.Boot, one.accel, got, one.want)
		}
		if got := policies.Overheads(nil).For(one.spec, one.accel); got < 16*vm.MiB || got > 160*vm.MiB {
			t.Errorf("%s needs %s", one.want, got)
		}
	}
}

func TestOverheadFollowsWhatIsSeenSlowlyAndWithinBounds(t *testing.T) {
	spec := vm.Spec{Name: "x"}.Filled()
	before := policies.Overheads(nil).For(spec, "kvm")
	learn := func(o policies.Overheads, looks int, own vm.Bytes) policies.Overheads {
		for range looks {
			o = o.Learn([]policies.Seen{{Spec: spec, Charged: spec.Memory + own}, {Spec: spec, Charged: spec.Memory / 2}}, "kvm")
		}
		return o
	}
	once := learn(nil, 1, 100*vm.MiB).For(spec, "kvm")
	if once <= before || once > before+8*vm.MiB {
		t.Errorf("one look moved %s to %s", before, once)
	}
	many := learn(nil, 500, 100*vm.MiB)
	if got := many.For(spec, "kvm"); got < 99*vm.MiB || got > 100*vm.MiB {
		t.Errorf("a hundred MiB were seen, and %s is expected", got)
	}
	if got := learn(many, 10, 20*vm.MiB).For(spec, "kvm"); got < 90*vm.MiB {
		t.Errorf("ten looks forgot what was needed: %s", got)
	}
	if got := learn(nil, 10_000, 50*vm.GiB).For(spec, "kvm"); got > 5*before {
		t.Errorf("one VMM that leaks makes every VM need %s", got)
	}
	if got := learn(nil, 10_000, vm.MiB).For(spec, "kvm"); got < before/2 {
		t.Errorf("guests that were not looked at closely make VMMs need %s", got)
	}
	if learn(nil, 100, -vm.MiB) != nil {
		t.Error("a guest that has not touched its memory tells something")
	}
}

// TestOverheadIsNeverOutOfBounds also where the store holds nonsense.
func TestOverheadIsNeverOutOfBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		amount := rapid.Map(rapid.Int64(), func(n int64) vm.Bytes { return vm.Bytes(n / 4) })
		spec := vm.Spec{Name: "x"}.Filled()
		usual := policies.Overheads(nil).For(spec, "tcg")
		o := policies.Overheads{"direct/tcg": amount.Draw(t, "stored"), "nonsense": 1}
		for range rapid.IntRange(0, 5).Draw(t, "looks") {
			o = o.Learn([]policies.Seen{{Spec: spec, Charged: amount.Draw(t, "charged")}}, "tcg")
		}
		if got := o.For(spec, "tcg"); got < usual/2-vm.MiB || got > 4*usual {
			t.Fatalf("%s, usually %s", got, usual)
		}
	})
}
