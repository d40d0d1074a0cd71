package gateway

import (
	"context"
	"errors"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

// A ladder is shown with what is used of it, and the evidence with its quota.
func TestAVMTellsOfItsRemediesAndOfItsEvidence(t *testing.T) {
	w, with := shelved(t)
	w.change("web", func(r *vm.Record) {
		r.Spec.Remedies = []vm.Rung{{Do: vm.RemedyReset, Times: 3}, {Do: vm.RemedyKill}}
		r.State.Rungs = []int{1}
	})
	_, client := socket(t, w.door(t, with), peer(1))
	one, err := client.GetVM(t.Context(), connect.NewRequest(&blixardv1.GetVMRequest{Name: "web"}))
	if err != nil {
		t.Fatal(err)
	}
	all, err := client.ListVMs(t.Context(), connect.NewRequest(&blixardv1.ListVMsRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range append(all.Msg.GetVms(), one.Msg) {
		got := v.GetRungs()
		if len(got) != 2 || got[0].GetDo() != "reset" || got[0].GetUsed() != 1 || got[0].GetTimes() != 3 || got[1].GetDo() != "kill" || got[1].GetUsed() != 0 {
			t.Errorf("its remedies are %v", got)
		}
		if b := v.GetBundles(); b.GetBytes() != int64(2*vm.KiB) || b.GetQuotaBytes() != int64(256*vm.MiB) {
			t.Errorf("its evidence is %v", b)
		}
	}
	res, err := client.NodeResources(t.Context(), connect.NewRequest(&blixardv1.NodeResourcesRequest{}))
	if b := res.Msg.GetBundles(); err != nil || b.GetBytes() != int64(2*vm.KiB) || b.GetQuotaBytes() != int64(vm.GiB) {
		t.Errorf("all evidence is %v, %v", b, err)
	}
	// Forgiven, none is used.
	w.change("web", func(r *vm.Record) {
		r.State.ReadyAt, r.State.Health, r.State.HealthSince = someTime.Add(-time.Hour), vm.Healthy, someTime.Add(-time.Hour)
	})
	one, err = client.GetVM(t.Context(), connect.NewRequest(&blixardv1.GetVMRequest{Name: "web"}))
	if err != nil || one.Msg.GetRungs()[0].GetUsed() != 0 {
		t.Errorf("after an hour in health: %v, %v", one, err)
	}
}

type unreadable struct{ host.Bundles }

func (unreadable) Held(context.Context) (map[vm.Name]vm.Bytes, error) {
	return nil, errors.New("the disk is gone")
}

// P11: a disk that can't be read costs a number, and no answer.
func TestStatusIsAnsweredWhereNobodyKnowsWhatBundlesHold(t *testing.T) {
	w := newWorld(record("web", vm.Running))
	for _, with := range []func(*Config){func(*Config) {}, func(c *Config) { c.Bundles = unreadable{} }} {
		_, client := socket(t, w.door(t, with), peer(1))
		one, err := client.GetVM(t.Context(), connect.NewRequest(&blixardv1.GetVMRequest{Name: "web"}))
		if err != nil || one.Msg.GetBundles() != nil {
			t.Errorf("%v, %v", one, err)
		}
		res, err := client.NodeResources(t.Context(), connect.NewRequest(&blixardv1.NodeResourcesRequest{}))
		if err != nil || res.Msg.GetBundles() != nil {
			t.Errorf("%v, %v", res, err)
		}
	}
}
