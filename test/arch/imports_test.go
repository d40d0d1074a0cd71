package arch

import (
	"fmt"
	"strings"
)

// arrow lets the folders below from import the folders below to. The longest
// from wins; "=" before a folder means that folder alone and nothing below it.
type arrow struct {
	from string
	to   []string
}

var importMap = []arrow{
	{"vm", nil},
	{"messages", []string{"vm", "messages"}},
	{"policies", []string{"vm"}},
	{"persistence", []string{"vm", "persistence"}},
	{"host", []string{"vm", "=host"}},
	{"host/tun", nil},
	{"host/inherit", []string{"vm", "=host", "host/tun"}},
	{"host/netlink", []string{"vm", "=host", "host/tun"}},
	{"host/launchertest", []string{"vm", "=host", "host/procfs"}},          // what every launcher keeps; tests import it
	{"host/proof", []string{"vm", "=host", "host/procfs", "host/inherit"}}, // start times and tags are read from /proc
	{"host/process", []string{"vm", "=host", "host/procfs", "host/proof", "host/inherit", "host/cgroup"}},
	{"host/systemd", []string{"vm", "=host", "host/procfs", "host/proof", "host/inherit", "host/cgroup"}},
	{"host/cgroup", []string{"vm", "=host", "host/procfs"}}, // where cgroups are mounted is read in one way
	{"host/capacity", []string{"vm", "=host", "host/procfs"}},
	{"host/meter", []string{"vm", "=host", "host/procfs"}},
	{"host/control", []string{"vm", "=host", "messages"}},
	{"host/unlinked", []string{"vm", "=host", "host/procfs"}},
	{"host/qemu", []string{"vm", "=host", "host/unlinked"}},
	{"host/console", []string{"vm", "=host", "host/unlinked"}},
	{"host/folders", []string{"vm", "=host", "host/seed"}},                             // cloud-init's disk lies beside the others
	{"host/runner", []string{"vm", "=host", "host/qemu", "host/tun", "host/unlinked"}}, // a runner of QEMU's speaks QMP
	{"actors", []string{"vm", "messages", "policies", "persistence", "=host", "actors"}},
	{"cmd", []string{"vm", "messages", "policies", "persistence", "host", "actors", "cmd"}},
	{"cmd/blixard-init", nil}, // PID 1 of a guest stays tiny
	{"cmd/blixard-vmm", nil},  // nothing stands between a unit and its VMM for longer than it must
	{"test", []string{"vm", "messages", "policies", "persistence", "host", "actors", "cmd", "test"}},
}

// testArrows is what tests beside the code may import besides.
var testArrows = []arrow{
	{"actors", []string{"host/fake"}},
	{"host", []string{"host"}},
	{"host/systemd", []string{"host", "test/node"}}, // a machine with a systemd of its own
}

func targets(table []arrow, folder string) ([]string, bool) {
	best := -1
	for i, a := range table {
		if within(folder, a.from) && (best < 0 || len(a.from) > len(table[best].from)) {
			best = i
		}
	}
	if best < 0 {
		return nil, false
	}
	return table[best].to, true
}

func allowed(homes []string, folder string) bool {
	for _, home := range homes {
		if exact, ok := strings.CutPrefix(home, "="); ok && folder == exact || !ok && within(folder, home) {
			return true
		}
	}
	return false
}

func arrows(s source) []string {
	to, known := targets(importMap, s.folder())
	if !known {
		return []string{fmt.Sprintf("%s: folder %s is not in the import map", s.path, s.folder())}
	}
	to = append([]string{"=" + s.folder()}, to...) // an external test package imports its own
	if s.folder() != "host" && within(s.folder(), "host") {
		to = append(to, hostPart(s.folder())) // an adapter may have parts of its own
	}
	if strings.HasSuffix(s.path, "_test.go") {
		more, _ := targets(testArrows, s.folder())
		to = append(to, more...)
	}
	var out []string
	for name, spec := range s.imports() {
		folder, ours := strings.CutPrefix(name, module+"/")
		if ours && !allowed(to, folder) {
			out = append(out, fmt.Sprintf("%s: %s must not import %s", s.at(spec), s.folder(), folder))
		}
	}
	return out
}

func hostPart(folder string) string {
	parts := strings.SplitN(folder, "/", 3)
	return parts[0] + "/" + parts[1]
}

// adapters: concrete adapters are chosen in one place, so that everything else
// depends on ports. Building the guest's image needs no daemon.
func adapters(s source) []string {
	if s.folder() != "cmd/blixard" || strings.HasPrefix(s.base(), "daemon") || s.isTest() {
		return nil
	}
	var out []string
	for name, spec := range s.imports() {
		folder, ours := strings.CutPrefix(name, module+"/host/")
		if !ours || folder == "image" && strings.HasPrefix(s.base(), "image") {
			continue
		}
		out = append(out, fmt.Sprintf("%s: only cmd/blixard/daemon*.go names the adapter host/%s", s.at(spec), folder))
	}
	return out
}

// home is where a third-party library may be imported. Tests is for libraries
// that only tests need.
type home struct {
	library string
	folders []string
	tests   bool
}

var homes = []home{
	{library: "github.com/asynkron/protoactor-go", folders: []string{"=actors"}},
	{library: "github.com/cockroachdb/pebble", folders: []string{"persistence"}},
	{library: "github.com/RaduBerinde/btreemap", folders: []string{"persistence"}},
	{library: "github.com/coreos/go-systemd", folders: []string{"host/systemd", "host/notify"}},
	{library: "github.com/godbus/dbus", folders: []string{"host/systemd"}},
	{library: "github.com/vishvananda/netlink", folders: []string{"host/netlink"}},
	{library: "github.com/vishvananda/netns", folders: []string{"host/netlink", "test"}},
	{library: "github.com/spf13", folders: []string{"cmd"}},
	{library: "go.uber.org/zap", folders: []string{"actors", "host", "cmd", "test"}},
	{library: "connectrpc.com/connect", folders: []string{"actors/gateway", "messages", "host/control", "cmd/blixard", "test"}},
	{library: "google.golang.org/protobuf", folders: []string{"actors/gateway", "messages", "cmd/blixard", "test"}},
	{library: "github.com/bufbuild/protocompile", folders: []string{"messages"}},
	{library: "github.com/goccy/go-yaml", folders: []string{"cmd/blixard"}},
	{library: "github.com/prometheus", folders: []string{"actors", "cmd/blixard"}},
	{library: "github.com/cavaliergopher/cpio", folders: []string{"host/image"}},
	{library: "github.com/pierrec/lz4", folders: []string{"host/image"}},
	{library: "github.com/therootcompany/xz", folders: []string{"host/image"}},
	{library: "github.com/klauspost/compress", folders: []string{"host/image"}},
	{library: "github.com/kdomanski/iso9660", folders: []string{"host/seed"}},
	{library: "github.com/dustin/go-humanize", folders: []string{"cmd/blixard"}},
	{library: "golang.org/x/sys", folders: []string{"host", "cmd", "persistence", "actors/gateway", "test"}},
	{library: "golang.org/x/term", folders: []string{"cmd/blixard"}},
	{library: "golang.org/x/sync", folders: []string{"actors", "cmd", "test"}},
	{library: "golang.org/x/time", folders: []string{"actors/gateway"}},
	{library: "golang.org/x/net", folders: []string{"actors/gateway", "cmd/blixard", "test"}},
	{library: "pgregory.net/rapid", tests: true},
	{library: "github.com/rogpeppe/go-internal", tests: true},
	{library: "go.uber.org/goleak", tests: true},
}

func libraries(s source) []string {
	var out []string
	for name, spec := range s.imports() {
		first, _, _ := strings.Cut(name, "/")
		if !strings.Contains(first, ".") || strings.HasPrefix(name, module) {
			continue
		}
		if why := homeless(s, name); why != "" {
			out = append(out, fmt.Sprintf("%s: %s %s", s.at(spec), name, why))
		}
	}
	return out
}

func homeless(s source, name string) string {
	for _, h := range homes {
		switch {
		case !within(name, h.library):
			continue
		case h.tests && s.isTest(), allowed(h.folders, s.folder()):
			return ""
		case h.tests:
			return "is for tests only"
		}
		return fmt.Sprintf("belongs in %v, not in %s", h.folders, s.folder())
	}
	return "has no home: give it one in test/arch/imports_test.go, and a reason in the commit"
}
