package cgroup

import (
	"reflect"
	"testing"
	"time"

	"github.com/blixard/blixard/vm"
)

// ofKernels are lines of Linux 6.18 and of one that says who wrote them.
const ofKernels = `<4>[   90.000001] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a/blixard/n/old.1,task_memcg=/a/blixard/n/old.1,task=sh,pid=1,uid=0
<4>[  100.100001] sh invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=200
<6>[  100.100002] memory: usage 51200kB, limit 51200kB, failcnt 0
<6>[  100.100003] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a/blixard/n/web.1,task_memcg=/a/blixard/n/web.1,task=blixard-web,pid=17668,uid=0
<3>[  100.100004] Memory cgroup out of memory: Killed process 17668 (blixard-web) total-vm:98488kB
<6>[  101.000000][ T4711] memory: usage 900kB, limit 9007199254740988kB, failcnt 0
<6>[  101.000001][ T4711] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,task_memcg=/a/blixard/n/outer.1,task=a,b,pid=2,uid=0
<6>[  101.000002] oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/a/blixard/n/host.1,task=qemu,pid=3,uid=0
<6>[  101.000003] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null)
<6> no time
[  101.5
`

func TestTheKernelsLogTellsWhoWasKilledAndWhere(t *testing.T) {
	log := linesSince(ofKernels, 95*time.Second)
	for path, want := range map[string]*kill{
		"/blixard/n/web.1":   {"blixard-web, process 17668", false, 50 * vm.MiB, 50 * vm.MiB},
		"/blixard/n/outer.1": {"a, process 2", true, 900 * vm.KiB, 9007199254740988 * vm.KiB},
		"/blixard/n/host.1":  {"qemu, process 3", true, 900 * vm.KiB, 9007199254740988 * vm.KiB},
		"/blixard/n/old.1":   nil, // too long ago
		"/blixard/n/web.2":   nil,
	} {
		got, ok := lastKill(log, path)
		if ok != (want != nil) || ok && got != *want {
			t.Errorf("%s: %+v %v, want %+v", path, got, ok, want)
		}
	}
}

func TestAKillIsToldByTheGroupOrByTheLog(t *testing.T) {
	log := func() []string { return linesSince(ofKernels, 95*time.Second) }
	none := func() []string { return nil }
	counted := Memory{Peak: 50 * vm.MiB, Limit: 50 * vm.MiB, Kills: 1, Full: 1}
	for story, c := range map[string]struct {
		m    Memory
		path string
		log  func() []string
		want *vm.OutOfMemory
	}{
		"no kill":                          {Memory{Peak: 1, Limit: 2}, "/blixard/n/web.1", log, nil},
		"counted, no log":                  {counted, "/blixard/n/web.1", none, &vm.OutOfMemory{Victim: "we", Limit: 50 * vm.MiB, Usage: 50 * vm.MiB}},
		"counted, the log knows better":    {counted, "/blixard/n/web.1", log, &vm.OutOfMemory{Victim: "blixard-web, process 17668", Limit: 50 * vm.MiB, Usage: 50 * vm.MiB}},
		"page cache had met its own limit": {counted, "/blixard/n/host.1", log, &vm.OutOfMemory{Victim: "qemu, process 3", Limit: 50 * vm.MiB, Usage: 50 * vm.MiB, Host: true}},
		"its own limit was far":            {Memory{Peak: 3, Limit: 9, Kills: 1}, "/x", none, &vm.OutOfMemory{Victim: "we", Limit: 9, Usage: 3, Host: true}},
		"the group is gone":                {Memory{}, "/blixard/n/web.1", log, &vm.OutOfMemory{Victim: "blixard-web, process 17668", Limit: 50 * vm.MiB, Usage: 50 * vm.MiB}},
		"gone, and no log":                 {Memory{}, "/blixard/n/web.1", none, nil},
		"in no group":                      {Memory{}, "", log, nil},
	} {
		if got := outOfMemory(c.m, c.path, "we", c.log); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", story, got, c.want)
		}
	}
}
