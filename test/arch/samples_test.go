package arch

import "strings"

const ours = `import _ "` + module + "/"

// samples are the smallest breaches, and the nearest things that are none.
func samples() []sample {
	return slicesOf(importSamples(), callSamples(), shapeSamples())
}

func slicesOf(parts ...[]sample) []sample {
	var out []sample
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

func importSamples() []sample {
	pkg := "package x\n\n"
	return []sample{
		{"import arrows", "vm/a.go", pkg + ours + "messages\"\n", true},
		{"import arrows", "policies/a.go", pkg + ours + "vm\"\n", false},
		{"import arrows", "policies/a.go", pkg + ours + "host\"\n", true},
		{"import arrows", "host/qemu/a.go", pkg + ours + "host\"\n", false},
		{"import arrows", "host/qemu/a.go", pkg + ours + "host/process\"\n", true},
		{"import arrows", "host/qemu/a_test.go", pkg + ours + "host/process\"\n", false},
		{"import arrows", "host/qemu/a.go", pkg + ours + "messages\"\n", true},
		{"import arrows", "host/control/a.go", pkg + ours + "messages/blixard/v1\"\n", false},
		{"import arrows", "actors/a.go", pkg + ours + "host\"\n", false},
		{"import arrows", "actors/a.go", pkg + ours + "host/qemu\"\n", true},
		{"import arrows", "actors/a.go", pkg + ours + "cmd/blixard\"\n", true},
		{"import arrows", "actors/a_test.go", pkg + ours + "host/fake\"\n", false},
		{"import arrows", "actors/a.go", pkg + ours + "host/fake\"\n", true},
		{"import arrows", "cmd/blixard-init/a.go", pkg + ours + "vm\"\n", true},
		{"import arrows", "cmd/blixard/a.go", pkg + ours + "actors\"\n", false},
		{"import arrows", "persistence/a.go", pkg + ours + "test/node\"\n", true},
		{"import arrows", "elsewhere/a.go", pkg, true},
		{"adapters are named by the daemon alone", "cmd/blixard/list.go", pkg + ours + "host/qemu\"\n", true},
		{"adapters are named by the daemon alone", "cmd/blixard/daemon.go", pkg + ours + "host/qemu\"\n", false},
		{"adapters are named by the daemon alone", "cmd/blixard/image.go", pkg + ours + "host/image\"\n", false},
		{"adapters are named by the daemon alone", "cmd/blixard/image.go", pkg + ours + "host/process\"\n", true},
		{"library homes", "cmd/a.go", pkg + "import _ \"github.com/asynkron/protoactor-go/actor\"\n", true},
		{"library homes", "actors/a.go", pkg + "import _ \"github.com/asynkron/protoactor-go/actor\"\n", false},
		{"library homes", "actors/gateway/a.go", pkg + "import _ \"github.com/asynkron/protoactor-go/actor\"\n", true},
		{"library homes", "actors/a.go", pkg + "import _ \"github.com/cockroachdb/pebble/v2\"\n", true},
		{"library homes", "actors/a.go", pkg + "import _ \"example.org/new/thing\"\n", true},
		{"library homes", "vm/a.go", pkg + "import _ \"pgregory.net/rapid\"\n", true},
		{"library homes", "vm/a_test.go", pkg + "import _ \"pgregory.net/rapid\"\n", false},
		{"library homes", "vm/a.go", pkg + "import _ \"encoding/json\"\n", false},
	}
}

func callSamples() []sample {
	pkg := "package x\n\n"
	return []sample{
		{"pure packages", "policies/a.go", pkg + "import _ \"math/rand/v2\"\n", true},
		{"pure packages", "vm/a.go", pkg + "import _ \"crypto/rand\"\n", true},
		{"pure packages", "vm/name.go", pkg + "import _ \"crypto/rand\"\n", false},
		{"pure packages", "vm/a.go", pkg + "import _ \"go.uber.org/zap\"\n", true},
		{"pure packages", "vm/a.go", pkg + "func f() { go f() }\n", true},
		{"pure packages", "policies/a_test.go", pkg + "import _ \"os\"\n", false},
		{"pure packages", "host/a.go", pkg + "import _ \"os\"\n", false},
		{"banned calls", "policies/a.go", pkg + "var now = time.Now()\n", true},
		{"banned calls", "actors/a.go", pkg + "var now = time.Now()\n", true},
		{"banned calls", "actors/gateway/a.go", pkg + "var now = time.Now()\n", false},
		{"banned calls", "policies/a.go", pkg + "var d = time.Second\n", false},
		{"banned calls", "actors/a.go", pkg + "func f() { ctx.SetReceiveTimeout(1) }\n", true},
		{"banned calls", "actors/a.go", pkg + "func f() { ctx.RequestFuture(1) }\n", true},
		{"banned calls", "actors/system.go", pkg + "func f() { ctx.RequestFuture(1) }\n", false},
		{"banned calls", "actors/a.go", pkg + "func f() { ctx.Stop(1) }\n", false},
		{"banned calls", "host/a.go", pkg + "func f() { os.Exit(1) }\n", true},
		{"banned calls", "cmd/blixard/a.go", pkg + "func f() { os.Exit(1) }\n", false},
		{"banned calls", "host/a.go", pkg + "var b = strings.Contains(err.Error(), \"exists\")\n", true},
		{"banned calls", "host/a.go", pkg + "var b = strings.Contains(line, \"exists\")\n", false},
		{"no sleep as synchronisation", "host/a_test.go", pkg + "func f() { time.Sleep(1) }\n", true},
		{"no sleep as synchronisation", "test/chaos/a.go", pkg + "func f() { time.Sleep(1) }\n", true},
		{"no sleep as synchronisation", "test/bench/a.go", pkg + "func f() { time.Sleep(1) }\n", false},
		{"no sleep as synchronisation", "actors/a_test.go", pkg + "import _ \"testing/synctest\"\n\nfunc f() { time.Sleep(1) }\n", false},
		{"no init, no context in a struct", "host/a.go", pkg + "func init() {}\n", true},
		{"no init, no context in a struct", "host/a.go", pkg + "type a struct{ ctx context.Context }\n", true},
		{"no init, no context in a struct", "host/a.go", pkg + "type a struct {\n\tctx context.Context //nolint:containedctx\n}\n", true},
		{"no init, no context in a struct", "host/a.go", pkg + "type a struct {\n\tctx context.Context //nolint:containedctx // ends with a\n}\n", false},
		{"no init, no context in a struct", "host/a.go", pkg + "type a struct{ f func(context.Context) }\n", false},
	}
}

func shapeSamples() []sample {
	pkg := "package x\n\n"
	long := strings.Repeat("\tf()\n", maxFunctionLines+1)
	return []sample{
		{"file length", "host/a.go", pkg + strings.Repeat("// x\n", maxFileLines), true},
		{"file length", "host/a.go", "// Code generated by us. DO NOT EDIT.\n\n" + pkg + strings.Repeat("// x\n", maxFileLines), false},
		{"file length", "host/a.go", pkg + strings.Repeat("// x\n", maxFileLines-2), false},
		{"function length", "host/a.go", pkg + "func f() {\n" + long + "}\n", true},
		{"function length", "host/a.go", pkg + "func f() {\n" + long[len("\tf()\n"):] + "}\n", false},
		{"function length", "host/a_test.go", pkg + "func f() {\n" + long + "}\n", false},
		{"function length", "host/a_test.go", pkg + "func f() {\n" + long + long + "}\n", true},
		{"file names", "vm/types.go", pkg, true},
		{"file names", "vm/helpers_test.go", pkg, true},
		{"file names", "vm/phase.go", pkg, false},
		{"words", "vm/a.go", pkg + "type VMManager struct{}\n", true},
		{"words", "vm/a.go", pkg + "func taskOf() {}\n", true},
		{"words", "vm/a.go", pkg + "type A struct{ QMPInfo int }\n", true},
		{"words", "vm/a.go", pkg + "func Database() {}\n", false},
		{"words", "vm/a.go", "package util\n", true},
		{"words", "vm/a.go", pkg + "func f() { data := 1; _ = data }\n", false},
		{"gofmt", "vm/a.go", pkg + "var  a = 1\n", true},
		{"gofmt", "vm/a.go", pkg + "var a = 1\n", false},
	}
}
