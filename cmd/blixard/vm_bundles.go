package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/blixard/blixard/cmd/blixard/specfile"
	"github.com/blixard/blixard/messages/blixardv1"
)

// bundles is what is to be done with bundles, where they aren't only shown.
type bundles struct {
	export     string
	prune, all bool
	olderThan  string
}

func (b bundles) check(cmd *cobra.Command, args []string) error {
	switch {
	case b.export != "" && b.prune:
		return misuse(cmd, "--export and --prune exclude each other")
	case b.export != "" && len(args) != 2:
		return misuse(cmd, "--export needs a NAME and a NUMBER")
	case !b.prune && (b.all || b.olderThan != ""):
		return misuse(cmd, "--all and --older-than go with --prune")
	case b.all && len(args) > 0:
		return misuse(cmd, "--all takes no NAME, here is %q", args[0])
	case !b.all && len(args) == 0:
		return misuse(cmd, "%s needs a NAME", cmd.CommandPath())
	}
	return nil
}

func (c *cli) pruneCrashes(cmd *cobra.Command, args []string, b bundles) error {
	req := &blixardv1.PruneCrashesRequest{All: b.all}
	if len(args) > 0 {
		req.Name = args[0]
	}
	if len(args) > 1 {
		n, err := crashNumber(cmd, args[1])
		if err != nil {
			return err
		}
		req.Number = n
	}
	if b.olderThan != "" {
		old, err := inDays(b.olderThan)
		if err != nil {
			return misuse(cmd, "--older-than: %v", err)
		}
		req.OlderThan = durationpb.New(old)
	}
	res, err := ask(cmd.Context(), c, c.node().PruneCrashes, req)
	if err != nil {
		return err
	}
	if handled, err := c.told(cmd, res); handled {
		return err
	}
	sum := int64(0)
	for _, one := range res.GetPruned() {
		sum += one.GetBytes()
		what := fmt.Sprintf("the bundle of crash %d", one.GetNumber())
		if one.GetNumber() == 0 {
			what = "the memory that was asked for"
		}
		if err := c.printf("%s: %s is removed (%s)\n", one.GetName(), what, size(one.GetBytes())); err != nil {
			return err
		}
	}
	n := len(res.GetPruned())
	switch {
	case n == 0 && b.olderThan != "":
		return c.printf("no bundle is older than %s, none is removed\n", b.olderThan)
	case n == 0:
		return c.printf("no bundle is kept, none is removed\n")
	case n > 1 && c.outIs:
		return c.printf("%s, %s\n", count(n, "bundle", "bundles"), size(sum))
	}
	return nil
}

// inDays reads 7d, and every other span of time.
func inDays(s string) (time.Duration, error) {
	const day, most = 24 * time.Hour, 36500
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n < 0 || n > most {
			return 0, fmt.Errorf("%.40q is no number of days from 0d to %dd", s, most)
		}
		return time.Duration(n) * day, nil
	}
	d, r := specfile.ParseDuration(s)
	if r != nil {
		return 0, fmt.Errorf("%.40q is no time; units are d, h, m, s and ms, such as 7d or 12h", s)
	}
	if d < 0 {
		return 0, fmt.Errorf("%.40q is negative", s)
	}
	return d, nil
}

// exportCrash writes the archive whole or not at all where it goes to a file,
// which its owner alone may read: it may hold the guest's memory.
func (c *cli) exportCrash(cmd *cobra.Command, name, text, to string) (err error) {
	n, err := crashNumber(cmd, text)
	if err != nil {
		return err
	}
	req := &blixardv1.ExportCrashRequest{Name: name, Number: n}
	if to == "-" {
		if c.outIs {
			return misuse(cmd, "--export - would write an archive to the terminal: send it to a file or a pipe")
		}
		return c.copyCrash(cmd, req, c.out)
	}
	if _, err := os.Lstat(to); err == nil {
		return occupied(to)
	}
	file, err := os.CreateTemp(filepath.Dir(to), filepath.Base(to)+".part-*") // never what somebody else has put there
	if err != nil {
		return fmt.Errorf("export to %s: %w", to, err)
	}
	wrote := &counted{to: file}
	if err = errors.Join(c.copyCrash(cmd, req, wrote), file.Close()); err == nil {
		err = settle(file.Name(), to)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return c.printf("%s: the bundle of crash %d is in %s (%s)\n", name, n, to, size(wrote.n))
}

// occupied leaves alone what is there.
func occupied(to string) error {
	return invalid("another name, or remove it first", "%s exists already, and is not overwritten", to)
}

// settle gives a finished file its name, which nobody else may have taken meanwhile.
func settle(from, to string) error {
	err := os.Link(from, to)
	switch {
	case err == nil:
		return os.Remove(from)
	case errors.Is(err, fs.ErrExist):
		return occupied(to)
	}
	return os.Rename(from, to) // a file system without hard links
}

// counted counts what goes through it.
type counted struct {
	to io.Writer
	n  int64
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.to.Write(b)
	c.n += int64(n)
	return n, err
}

func (c *cli) copyCrash(cmd *cobra.Command, req *blixardv1.ExportCrashRequest, to io.Writer) error {
	defer c.waiting("reading the bundle of crash %d of %s", req.GetNumber(), req.GetName())()
	stream, err := c.node().ExportCrash(cmd.Context(), connect.NewRequest(req))
	if err != nil {
		return lost(err)
	}
	defer func() { _ = stream.Close() }() // it has ended, or nobody listens any more
	for stream.Receive() {
		if _, err := to.Write(stream.Msg().GetData()); err != nil {
			return fmt.Errorf("write the archive: %w", err)
		}
	}
	return lost(stream.Err())
}

// bundleCell is what is kept of a death.
func (c *cli) bundleCell(one *blixardv1.Crash) string {
	switch {
	case c.isWritten(one):
		return "writing"
	case one.GetBundleBytes() == 0 && one.GetNoBundle() != "":
		return "none" // the crash itself says why
	case one.GetBundleBytes() == 0:
		return ""
	}
	cell := size(one.GetBundleBytes())
	if one.GetDump() {
		cell += "+dump"
	}
	if one.GetCore() {
		cell += "+core"
	}
	return cell
}

// memoryWords names memory as vm show does: what counts first.
func memoryWords(u *blixardv1.Usage) string {
	resident := size(u.GetMemoryBytes()) + " memory resident with pages of files"
	if u.GetMemoryChargedBytes() == 0 {
		return resident
	}
	return size(u.GetMemoryChargedBytes()) + " memory charged, " + resident
}

// isWritten says whether the bundle of a death that has none may still come: it is
// written within moments, unless it has the guest's memory.
func (c *cli) isWritten(one *blixardv1.Crash) bool {
	const moments = 5 * time.Second
	return one.GetBundleBytes() == 0 && one.GetNoBundle() == "" && c.now().Sub(one.GetAt().AsTime()) < moments
}

func sure(confidence string) string {
	if confidence == "" {
		return ""
	}
	return ", " + confidence
}

// shownRounds is how many results of checks a person reads; all are in the bundle.
const shownRounds = 10

// evidenceBlock adds what the bundle tells, but for the ends of the logs.
func (c *cli) evidenceBlock(b *block, res *blixardv1.GetCrashResponse) {
	one, e := res.GetCrash(), res.GetEvidence()
	switch {
	case e == nil && c.isWritten(one):
		b.add("Bundle", "not yet: it is being written, or was pruned at once")
		return
	case e == nil:
		b.add("Bundle", "none: %s", or(one.GetNoBundle(), "it was pruned, or the daemon ended before it was written"))
		return
	}
	b.add("Bundle", "%s", c.bundleCell(one))
	for _, why := range e.GetLacks() {
		b.add("Lacks", "%s", why)
	}
	if d := e.GetDump(); d != nil && d.GetWhy() != "" {
		b.add("Dump", "none, after %s: %s", span(d.GetTook()), d.GetWhy())
	} else if d != nil {
		b.add("Dump", "%s, %s, written in %s", d.GetFormat(), size(d.GetBytes()), span(d.GetTook()))
	}
	if c := e.GetCore(); c != nil {
		b.add("VMM's core", "%s", or(c.GetWhy(), "vmm.core in the bundle, "+size(c.GetBytes())))
	}
	if u := e.GetUsage(); u != nil {
		b.add("Usage", "%s, %.1fs of processor time", memoryWords(u), u.GetCpuSeconds())
	}
	if p := e.GetPressure(); p != nil {
		b.add("Pressure", "cpu %.1f%%, memory %.1f%%, io %.1f%% of the node's last ten seconds", p.GetCpu(), p.GetMemory(), p.GetIo())
	}
	died := one.GetAt().AsTime()
	var said, rounds []string
	for _, s := range e.GetNotices() {
		said = append(said, fmt.Sprintf("%s before: %s %s", age(died.Sub(s.GetAt().AsTime())), s.GetKind(), s.GetDetail()))
	}
	b.addAll("VMM said", said)
	all := e.GetRounds()
	for _, r := range all[max(0, len(all)-shownRounds):] {
		verdict := "passed"
		switch {
		case r.GetDropped() != "":
			verdict = "not judged: " + r.GetDropped()
		case !r.GetOk():
			verdict = "failed"
		}
		rounds = append(rounds, strings.TrimSpace(fmt.Sprintf("%s before: %s %s in %s %s",
			age(died.Sub(r.GetAt().AsTime())), r.GetCheck(), verdict, span(r.GetTook()), r.GetDetail())))
	}
	b.addAll("Probes", rounds)
	b.addIf(len(e.GetArgv()) > 0, "Command", "%s", strings.Join(e.GetArgv(), " "))
}
