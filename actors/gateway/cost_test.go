package gateway

import (
	"fmt"
	"testing"

	"connectrpc.com/connect"
	"go.uber.org/zap"

	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

func BenchmarkListOfAThousand(b *testing.B) {
	var records []vm.Record
	for i := range 1000 {
		records = append(records, record(vm.Name(fmt.Sprintf("vm-%d", i)), vm.Running))
	}
	d := newWorld(records...).door(b, func(c *Config) { c.Log = zap.NewNop(); c.Limits.PerSecond = 1e9 })
	_, client := socket(b, d, peer(0))
	for b.Loop() {
		if _, err := client.ListVMs(b.Context(), connect.NewRequest(&blixardv1.ListVMsRequest{})); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStart(b *testing.B) {
	d := newWorld(record("web", vm.Running)).door(b, func(c *Config) { c.Log = zap.NewNop(); c.Limits.PerSecond = 1e9 })
	_, client := socket(b, d, peer(0))
	for b.Loop() {
		if _, err := client.StartVM(b.Context(), connect.NewRequest(&blixardv1.StartVMRequest{Name: "web"})); err != nil {
			b.Fatal(err)
		}
	}
}
