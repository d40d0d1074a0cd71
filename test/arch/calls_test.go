package arch

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
)

// pure packages hold no clock, dice, context, goroutine or logger: time and
// the random number come in as arguments, so that a decision can be replayed.
var (
	pureFolders = []string{"vm", "policies"}
	pureImports = []string{"context", "crypto/rand", "log", "log/slog", "math/rand", "math/rand/v2", "net", "os", "os/exec", "sync", "sync/atomic", "syscall"}
	pureExempt  = map[string]string{
		"vm/name.go":       "crypto/rand", // a uid is drawn where its alphabet is defined; no decision reads it
		"vm/spec_check.go": "net",         // for ParseMAC
	}
	clockReaders = []string{"Now", "Since", "Until", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker", "Sleep"}
	clockFolders = []string{"vm", "policies", "=actors"} // actors read host.Clock, so that the simulator can turn it
)

func purity(s source) []string {
	if s.isTest() || !allowed(pureFolders, s.folder()) {
		return nil
	}
	var out []string
	for name, spec := range s.imports() {
		first, _, _ := strings.Cut(name, "/")
		ours := strings.HasPrefix(name, module)
		switch {
		case !ours && strings.Contains(first, "."):
			out = append(out, fmt.Sprintf("%s: %s holds the standard library alone, not %s", s.at(spec), s.folder(), name))
		case slices.Contains(pureImports, name) && pureExempt[s.path] != name:
			out = append(out, fmt.Sprintf("%s: a pure package must not import %s", s.at(spec), name))
		}
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n.(type) {
		case *ast.GoStmt, *ast.SelectStmt, *ast.SendStmt, *ast.ChanType:
			out = append(out, s.at(n)+": a pure package has no goroutine and no channel")
		}
		return true
	})
	return out
}

// ban forbids a selector: pkg.Name, or any x.Name where pkg is empty.
type ban struct {
	pkg, name string
	folders   []string // where it is banned
	except    []string // folders or files where it is not
	instead   string
}

var bans = []ban{
	{name: "SetReceiveTimeout", folders: []string{"actors"}, instead: "the clock port and a message with its revision (the library's one is a data race)"},
	{name: "Stash", folders: []string{"actors"}, instead: "a queue of our own (the library's is last in, first out, and loses the sender)"},
	{name: "Poison", folders: []string{"actors"}, instead: "Stop (a suspended actor never sees a Poison)"},
	{name: "PoisonFuture", folders: []string{"actors"}, instead: "Stop and Terminated"},
	{name: "StopFuture", folders: []string{"actors"}, except: []string{"actors/system.go"}, instead: "Stop and Terminated"},
	{name: "RestartChildren", folders: []string{"actors"}, instead: "stop, and a new child after Terminated (a restart after a stop makes a zombie)"},
	{name: "NewExponentialBackoffStrategy", folders: []string{"actors"}, instead: "policies.Supervise"},
	{name: "NewAllForOneStrategy", folders: []string{"actors"}, instead: "policies.Supervise"},
	{name: "NewOneForOneStrategy", folders: []string{"actors"}, instead: "HandleFailure and policies.Supervise"},
	{name: "WithGuardian", folders: []string{"actors"}, instead: "the root actor"},
	{name: "WithContextDecorator", folders: []string{"actors"}, instead: "receiver middleware"},
	{name: "RequestFuture", folders: []string{"actors"}, except: []string{"actors/system.go"}, instead: "Ask of actors/system.go"},
	{name: "ReenterAfter", folders: []string{"actors"}, instead: "a goroutine that sends one typed message back"},
	{name: "WithDefaultPrometheusProvider", folders: []string{"actors"}, instead: "our own metrics (this one opens a port)"},
	{pkg: "os", name: "Exit", folders: []string{"vm", "policies", "messages", "host", "actors"}, except: []string{"messages/gen"}, instead: "an error that reaches main"},
	{pkg: "log", name: "Fatal", folders: []string{"vm", "policies", "messages", "host", "actors", "persistence"}, instead: "an error"},
	{pkg: "log", name: "Fatalf", folders: []string{"vm", "policies", "messages", "host", "actors", "persistence"}, instead: "an error"},
	{pkg: "time", name: "Sleep", folders: []string{"messages", "persistence", "actors"}, instead: "the clock port, or an event"},
	{pkg: "prometheus", name: "MustRegister", folders: []string{"actors", "cmd"}, instead: "a registry of our own, passed in"},
}

func (b ban) covers(s source) bool {
	return allowed(b.folders, s.folder()) && !slices.Contains(b.except, s.path) && !allowed(b.except, s.folder())
}

func (b ban) matches(n *ast.SelectorExpr) bool {
	if n.Sel.Name != b.name {
		return false
	}
	x, plain := n.X.(*ast.Ident)
	return b.pkg == "" || plain && x.Name == b.pkg
}

func calls(s source) []string {
	if s.generated || s.isTest() {
		return nil
	}
	var out []string
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			out = append(out, selector(s, n)...)
		case *ast.CallExpr:
			if readsErrorText(n) {
				out = append(out, s.at(n)+": an error's sentence belongs to somebody else: use errors.Is, errors.As or host.KindOf")
			}
		}
		return true
	})
	return out
}

func selector(s source, n *ast.SelectorExpr) []string {
	var out []string
	for _, b := range bans {
		if b.covers(s) && b.matches(n) {
			out = append(out, fmt.Sprintf("%s: %s is banned; use %s", s.at(n), b.name, b.instead))
		}
	}
	x, plain := n.X.(*ast.Ident)
	if plain && x.Name == "time" && slices.Contains(clockReaders, n.Sel.Name) && allowed(clockFolders, s.folder()) {
		out = append(out, fmt.Sprintf("%s: time.%s reads the machine's clock; take the time as an argument, or from host.Clock", s.at(n), n.Sel.Name))
	}
	return out
}

// readsErrorText finds strings.Contains(err.Error(), …) and its sisters.
func readsErrorText(n *ast.CallExpr) bool {
	f, ok := n.Fun.(*ast.SelectorExpr)
	if !ok || len(n.Args) == 0 {
		return false
	}
	pkg, ok := f.X.(*ast.Ident)
	if !ok || pkg.Name != "strings" || !slices.Contains([]string{"Contains", "HasPrefix", "HasSuffix", "EqualFold"}, f.Sel.Name) {
		return false
	}
	inner, ok := n.Args[0].(*ast.CallExpr)
	if !ok {
		return false
	}
	method, ok := inner.Fun.(*ast.SelectorExpr)
	return ok && method.Sel.Name == "Error" && len(inner.Args) == 0
}

// sleeps: a test waits for an event with a deadline. Inside a synctest bubble
// time is virtual, and a bench may have to idle to measure idling.
func sleeps(s source) []string {
	if !s.isTest() || allowed([]string{"test/bench", "test/sim", "host/fake"}, s.folder()) {
		return nil // the simulator and its machine live in a bubble
	}
	if _, bubble := s.imports()["testing/synctest"]; bubble {
		return nil
	}
	var out []string
	ast.Inspect(s.file, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && (ban{pkg: "time", name: "Sleep"}).matches(sel) {
			out = append(out, s.at(n)+": a test never sleeps to synchronise; wait for an event with a deadline")
		}
		return true
	})
	return out
}

func declarations(s source) []string {
	if s.generated {
		return nil
	}
	var out []string
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Recv == nil && n.Name.Name == "init" {
				out = append(out, s.at(n)+": no init(): say it where it is called")
			}
		case *ast.StructType:
			out = append(out, heldContexts(s, n)...)
		}
		return true
	})
	return out
}

func heldContexts(s source, n *ast.StructType) []string {
	var out []string
	for _, field := range n.Fields.List {
		sel, ok := field.Type.(*ast.SelectorExpr)
		if ok && (ban{pkg: "context", name: "Context"}).matches(sel) && !reasoned(field.Comment, "containedctx") {
			out = append(out, s.at(field)+": a context is passed, not kept in a struct")
		}
	}
	return out
}

// reasoned says whether the line is excused as golangci-lint wants it: by name and with a reason.
func reasoned(c *ast.CommentGroup, linter string) bool {
	if c == nil {
		return false
	}
	directive, why, _ := strings.Cut(strings.TrimPrefix(c.List[0].Text, "//"), "//")
	return strings.TrimSpace(directive) == "nolint:"+linter && strings.TrimSpace(why) != ""
}
