package specfile

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/blixard/blixard/vm"
)

// zeros is every number and duration of a spec with a zero in it, and what is
// said of that; where nothing is said, the zero is kept.
var zeros = map[string]struct{ file, says string }{
	"cpus":                           {"cpus: 0", "2:7: cpus is 0, the least that is allowed is 1"},
	"memory":                         {"memory: 0MiB", "memory is 0MiB, the least that is allowed is 1MiB"},
	"disks[].size":                   {"disks: [{name: a, path: /a, size: 0}]", "disks[0].size is 0, the least that is allowed is 1MiB"},
	"networks[].mtu":                 {"networks: [{bridge: br0, mtu: 0}]", "the least that is allowed is 576; try: leave it out: the bridge's"},
	"restart.delay.initial":          {"restart: {delay: {initial: 0s}}", "the least that is allowed is 1ms; try: restart: {delays: [0s]}"},
	"restart.delay.factor":           {"restart: {delay: {factor: 0.0}}", "restart.delay.factor is 0.0, the least that is allowed is 1; try: factor: 1"},
	"restart.delay.max":              {"restart: {delay: {max: 0h}}", "the least that is allowed is 1ms; try: restart: {delays: [0s]}"},
	"restart.delay.jitter":           {"restart: {delay: {jitter: 0}}", ""},
	"restart.delays[]":               {"restart: {delays: [0s]}", ""},
	"restart.budget.attempts":        {"restart: {budget: {attempts: 0}}", "the least that is allowed is 1; try: restart: {policy: never}"},
	"restart.budget.window":          {"restart: {budget: {window: 0s}}", "restart.budget.window is 0s, the least that is allowed is 10ms"},
	"restart.resetAfter":             {"restart: {resetAfter: 0}", "restart.resetAfter is 0, the least that is allowed is 10ms"},
	"autostart.priority":             {"autostart: {priority: 0}", ""},
	"autostart.dependsOn[].timeout":  {"autostart: {dependsOn: [{vm: db, timeout: 0s}]}", "try: leave that VM out of dependsOn"},
	"health[].interval":              {"health: [{type: vmm, interval: 0s}]", "health[0].interval is 0s, the least that is allowed is 10ms"},
	"health[].timeout":               {"health: [{type: vmm, timeout: -0s}]", "health[0].timeout is -0s, the least that is allowed is 10ms"},
	"health[].failures":              {"health: [{type: vmm, failures: 0}]", "health[0].failures is 0, the least that is allowed is 1"},
	"health[].successes":             {"health: [{type: vmm, successes: 0}]", "health[0].successes is 0, the least that is allowed is 1"},
	"health[].startPeriod":           {"health: [{type: vmm, startPeriod: 0s}]", ""},
	"health[].every":                 {"health: [{type: console, healthy: a, every: 0s}]", ""},
	"health[].exit":                  {"health: [{type: exec, command: 'true', exit: 0}]", ""},
	"health[].atLeast":               {"health: [{type: guest-process, process: nginx, atLeast: 0}]", "health[0].atLeast is 0, the least that is allowed is 1; try: leave it out: one is enough"},
	"remedies[].times":               {"remedies: [{do: reset, times: 0}]", ""},
	"dump.timeout":                   {"dump: {on: [guest-panic], timeout: 0s}", "dump.timeout is 0s, the least that is allowed is 1s"},
	"health[].startup (of the file)": {"health: [{type: vmm, startup: 0s}]", "health[0].startup is 0s, the least that is allowed is 10ms"},
	"start.timeout":                  {"start: {timeout: 0s}", "2:18: start.timeout is 0s, the least that is allowed is 10ms; try: leave it out"},
	"stop.timeout":                   {"stop: {timeout: 0s}", "the least that is allowed is 10ms; try: stop: {method: kill}"},
	"resources.cpuWeight":            {"resources: {cpuWeight: 0}", "resources.cpuWeight is 0, the least that is allowed is 1"},
	"resources.cpuQuota":             {"resources: {cpuQuota: 0}", ""},
	"resources.ioWeight":             {"resources: {ioWeight: 0}", "resources.ioWeight is 0, the least that is allowed is 1"},
	"reclaim.steps[].after":          {"reclaim: {steps: [{do: pause, after: 0s}]}", "reclaim.steps[0].after is 0s, the least that is allowed is 10ms"},
	"reclaim.keep":                   {"reclaim: {steps: [{do: pause, after: 1h}], keep: 0}", "reclaim.keep is 0, the least that is allowed is 10"},
	"reclaim.idle.cpu":               {"reclaim: {steps: [{do: pause, after: 1h}], idle: {cpu: 0}}", "reclaim.idle.cpu is 0, the least that is allowed is 0.01"},
	"reclaim.idle.packets":           {"reclaim: {steps: [{do: pause, after: 1h}], idle: {packets: 0}}", "reclaim.idle.packets is 0, the least that is allowed is 0.01"},
	"reclaim.idle.io":                {"reclaim: {steps: [{do: pause, after: 1h}], idle: {io: 0B}}", "reclaim.idle.io is 0B, the least that is allowed is 1B"},
}

// A zero that somebody wrote is kept, or refused with what to write instead: a
// default never takes its place without a word.
func TestNoZeroBecomesADefaultSilently(t *testing.T) {
	for field, one := range zeros {
		specs, err := Parse(strings.NewReader("name: web\n"+one.file+"\n"), "web.yaml")
		if one.says != "" {
			if err == nil || !strings.Contains(err.Error(), one.says) || !strings.Contains(err.Error(), "; try: ") {
				t.Errorf("%s: %q: got %v, want %q", field, one.file, err, one.says)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %q: %v", field, one.file, err)
			continue
		}
		if got := valueOf(reflect.ValueOf(specs[0].Filled()), field); !got.IsZero() {
			t.Errorf("%s: %q became %v", field, one.file, got)
		}
		sameAgain(t, specs[0].Filled())
	}
	known := slices.DeleteFunc(slices.Sorted(maps.Keys(zeros)), func(s string) bool { return strings.Contains(s, "(of the file)") })
	all := numbersOf(reflect.TypeFor[vm.Spec](), "")
	slices.Sort(all)
	if !slices.Equal(known, all) {
		t.Errorf("a spec's numbers are\n%v\nand the table above has\n%v", all, known)
	}
}

// What says nothing stays the default's.
func TestAnEmptyFieldIsNotAZero(t *testing.T) {
	specs, err := Parse(strings.NewReader("name: web\ncpus:\nrestart: {delay: {initial: , jitter: }}\nstart: {timeout: }\n"), "web.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if want := (vm.Spec{Name: "web"}).Filled(); !reflect.DeepEqual(specs[0].Filled(), want) {
		t.Errorf("got %+v\nwant %+v", specs[0].Filled(), want)
	}
}

func TestJitterOfZeroLeavesTheRestOfTheCurve(t *testing.T) {
	specs, err := Parse(strings.NewReader("name: web\nrestart: {delay: {initial: 3s, jitter: 0}}\n"), "web.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if got := specs[0].Filled().Restart.Delay; got != (vm.Delay{Initial: 3 * time.Second, Factor: 2, Max: 5 * time.Minute}) {
		t.Errorf("got %+v", got)
	}
}

// numbersOf is the path of each number below a type, by its JSON names.
func numbersOf(of reflect.Type, path string) (all []string) {
	switch of.Kind() {
	case reflect.Struct:
		for i := range of.NumField() {
			name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
			all = append(all, numbersOf(of.Field(i).Type, strings.TrimPrefix(path+"."+name, "."))...)
		}
	case reflect.Slice:
		return numbersOf(of.Elem(), path+"[]")
	case reflect.Int, reflect.Int64, reflect.Float64:
		return []string{path}
	default:
	}
	return all
}

// valueOf is the first value at such a path.
func valueOf(v reflect.Value, path string) reflect.Value {
	for step := range strings.SplitSeq(path, ".") {
		name, isList := strings.CutSuffix(step, "[]")
		for i := range v.NumField() {
			if tag, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ","); tag == name {
				v = v.Field(i)
				break
			}
		}
		if isList {
			v = v.Index(0)
		}
	}
	return v
}
