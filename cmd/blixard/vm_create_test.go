package main

import (
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/blixard/blixard/vm"
)

func TestFlagsSayWhatASpecFileDoes(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	got, err := wish{
		flake: "./vms#web", priority: -3,
		networks: []string{"user", "bridge=br0,mac=52:54:00:12:34:56,mtu=1400", "mode=user", "bridge=br1,mac=auto"},
		depends:  []string{"db", "queue:healthy", "cache:running,timeout=5m", "old,timeout=1s"},
	}.spec("new")
	if err != nil {
		t.Fatal(err)
	}
	want := vm.Spec{
		Name: "new", Boot: vm.Boot{Flake: here + "/vms#web"},
		Networks: []vm.Network{
			{Mode: vm.NetworkUser},
			{Mode: vm.NetworkBridge, Bridge: "br0", MAC: "52:54:00:12:34:56", MTU: 1400},
			{Mode: vm.NetworkUser},
			{Mode: vm.NetworkBridge, Bridge: "br1", MAC: "auto"},
		},
		Autostart: vm.Autostart{Priority: -3, DependsOn: []vm.Dependency{
			{VM: "db"}, {VM: "queue", Is: vm.IsHealthy}, {VM: "cache", Is: vm.IsRunning, Timeout: 5 * time.Minute}, {VM: "old", Timeout: time.Second},
		}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	got, err = wish{runner: "result"}.spec("new")
	if err != nil || got.Boot != (vm.Boot{Runner: here + "/result"}) {
		t.Errorf("runner: %+v, %v", got.Boot, err)
	}
}
