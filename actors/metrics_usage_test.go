package actors_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/blixard/blixard/actors"
	"github.com/blixard/blixard/host/fake"
	"github.com/blixard/blixard/vm"
)

func TestMetricsOfUsageAreCleanAndNameTheVMAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, quick)
		s.create("web", nil)
		s.create("down", nil)
		s.after(2 * time.Second)
		if err := s.ask("down", vm.StopAsked); err != nil {
			t.Fatal(err)
		}
		s.world.Load("web", fake.Load{CPU: 0.5, Memory: 100 * vm.MiB, IO: 5000, Packets: 20})
		s.world.Spend(vm.NodeUsage{Memory: vm.GiB, Busy: time.Hour})
		s.after(time.Minute)
		m := actors.NewMetrics()
		m.Show(s.node)
		families, err := m.Registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		ours := families[:0]
		for _, f := range families {
			if strings.HasPrefix(f.GetName(), "blixard_vm_") || strings.HasPrefix(f.GetName(), "blixard_node_") {
				ours = append(ours, f)
			}
		}
		problems, err := promlint.NewWithMetricFamilies(ours).Lint()
		if err != nil || len(problems) > 0 {
			t.Errorf("promlint: %v, %v", problems, err)
		}
		got := map[string]float64{}
		for _, f := range ours {
			for _, one := range f.GetMetric() {
				of := f.GetName()
				for _, l := range one.GetLabel() {
					if strings.HasPrefix(of, "blixard_vm_") && l.GetName() != "vm" {
						t.Errorf("%s has the label %s", f.GetName(), l.GetName())
					}
					of += " " + l.GetValue()
				}
				got[of] = one.GetGauge().GetValue() + one.GetCounter().GetValue()
			}
		}
		for of, want := range map[string]float64{
			"blixard_vm_memory_bytes web": float64(100 * vm.MiB), "blixard_node_used_memory_bytes": float64(vm.GiB),
			"blixard_node_cpu_busy_seconds_total": 3600, "blixard_vm_idle_seconds web": 0,
			"blixard_node_bundle_bytes": 0, "blixard_node_bundle_quota_bytes": float64(vm.GiB), "blixard_node_vm_bundle_quota_bytes": float64(256 * vm.MiB),
		} {
			if v, ok := got[of]; !ok || v != want {
				t.Errorf("%s is %v (%t), want %v", of, v, ok, want)
			}
		}
		for of, want := range map[string]bool{
			"blixard_vm_reserved_memory_bytes down": true, "blixard_vm_memory_bytes down": false, "blixard_vm_memory_limit_bytes web": false, "blixard_vm_memory_charged_bytes web": false,
			"blixard_vm_cpu_seconds_total web": true, "blixard_node_room_cpus": true, "blixard_node_pressure_ratio io": true,
		} {
			if _, ok := got[of]; ok != want {
				t.Errorf("%s is there: %t, want %t", of, ok, want)
			}
		}
		s.end()
	})
}
