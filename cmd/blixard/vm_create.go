package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/blixard/blixard/cmd/blixard/specfile"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

// wish is a spec as flags say it.
type wish struct {
	files                             []string
	start, dry                        bool
	image, kernel, initrd, cmdline    string
	runner, flake, disk, memory       string
	cpus, priority                    int
	disks, networks, checks, depends  []string
	restart, autostart                string
	cpuQuota                          string
	stopTimeout, startTimeout, resets time.Duration
}

func createCommand(c *cli) *cobra.Command {
	var w wish
	var a aim
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Create VMs",
		Long: `Create a VM from flags, or VMs from files. Everything but the name has a
default; "blixard vm show NAME -o yaml" shows all of them filled in.

  --disk        name=NAME,size=SIZE or name=NAME,path=FILE[,readonly]
  --network     user[,mac=MAC], or bridge=BRIDGE[,mac=MAC][,mtu=BYTES]
  --health      guest-agent, vmm, process, console:REGEX, tcp:IP:PORT,
                http:URL, exec:COMMAND or guest-process:NAME; each with
                role=startup, liveness or readiness, interval= and a spec
                file's other words, but headers and startup, for which
                there is --start-timeout
  --depends-on  VM[:running|:healthy][,timeout=SPAN]: at the node's boot
                that VM is up first, or the time has passed (2m)`,
		Example: `  blixard vm create web --start
  blixard vm create web --cpus 2 --memory 256MiB --network user \
    --disk name=data,size=1GiB
  blixard vm create db --boot-disk /srv/debian.qcow2 \
    --health console:login: --health tcp:10.0.0.5:5432,role=readiness
  blixard vm create web --depends-on db:healthy \
    --network bridge=br0,mtu=1400
  blixard vm create big --cpus 4 --memory 8GiB --dry-run
  blixard vm create web --runner ./result
  blixard vm create web --flake ./vms#web
  blixard vm create -f web.yaml --start --wait`,
		Args: between(0, 1), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			specs, err := c.wished(cmd, args, w)
			if err != nil {
				return err
			}
			if w.dry {
				err = c.createDry(cmd, specs)
			} else {
				err = c.create(cmd, specs, w.start || a.wait, a)
			}
			if !errors.Is(err, errUnreachable) {
				c.warnOfStrangers(cmd.Context(), specs)
			}
			return err
		},
	}
	w.flags(cmd)
	a.flags(cmd, "running")
	_ = cmd.RegisterFlagCompletionFunc("depends-on", c.completeNames(-1))
	return outputs(cmd, "text", "json", "yaml", "name")
}

func (w *wish) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVarP(&w.files, "file", "f", nil, "spec `FILE`, or - for standard input; may be repeated")
	f.BoolVar(&w.start, "start", false, "start it too")
	f.BoolVar(&w.dry, "dry-run", false, "say what it needs of the node and what would be left, create nothing")
	f.StringVar(&w.image, "image", "", "boot this `IMAGE` (default builtin)")
	f.StringVar(&w.kernel, "kernel", "", "boot this kernel `FILE`")
	f.StringVar(&w.initrd, "initrd", "", "its initial ram disk `FILE`")
	f.StringVar(&w.cmdline, "cmdline", "", "its command `LINE`; with an image: words added to its own")
	f.StringVar(&w.disk, "boot-disk", "", "boot this disk `FILE`, which boots itself")
	f.StringVar(&w.runner, "runner", "", "boot this built microvm.nix runner `DIR`")
	f.StringVar(&w.flake, "flake", "", "build a microvm.nix runner from this flake `REF`, and boot it")
	f.IntVar(&w.cpus, "cpus", 0, "processors (default 1)")
	f.StringVar(&w.memory, "memory", "", "memory `SIZE`, such as 256MiB (default 128MiB)")
	f.StringArrayVar(&w.disks, "disk", nil, "add a `DISK`; may be repeated")
	f.StringArrayVar(&w.networks, "network", nil, "add a `NETWORK`; may be repeated")
	f.StringArrayVar(&w.checks, "health", nil, "add a health `CHECK`; may be repeated")
	f.StringVar(&w.restart, "restart", "", "restart `POLICY`: always, on-failure or never (default on-failure)")
	f.StringVar(&w.autostart, "autostart", "", "autostart `POLICY`: inherit, always, healthy, last-state or never (default inherit)")
	f.StringArrayVar(&w.depends, "depends-on", nil, "at the node's boot, after this `VM`; may be repeated")
	f.IntVar(&w.priority, "priority", 0, "at the node's boot, the highest `NUMBER` first (default 0)")
	f.StringVar(&w.cpuQuota, "cpu-quota", "", "most `PERCENT` of one processor, such as 150%")
	f.DurationVar(&w.startTimeout, "start-timeout", 0, "how long a start may take (default 2m)")
	f.DurationVar(&w.stopTimeout, "stop-timeout", 0, "how long the guest may take to power off (default 30s)")
	f.DurationVar(&w.resets, "reset-after", 0, "healthy this long: delay and budget start anew (default 10m)")
	words := map[string][]string{
		"image": {"builtin"}, "restart": {"always", "on-failure", "never"}, "network": {"user", "bridge="},
		"autostart": {"inherit", "always", "healthy", "last-state", "never"}, "health": {"guest-agent", "console:", "exec:", "guest-process:", "http:http://", "process", "tcp:", "vmm"},
	}
	for flag, values := range words {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
}

func (c *cli) wished(cmd *cobra.Command, args []string, w wish) ([]vm.Spec, error) {
	switch {
	case len(w.files) > 0 && len(args) > 0:
		return nil, misuse(cmd, "a file names its VMs itself, leave %q or -f out", args[0])
	case len(w.files) > 0:
		for _, one := range []string{
			"image", "kernel", "initrd", "cmdline", "boot-disk", "runner", "flake", "cpus", "memory", "disk", "network", "health",
			"restart", "autostart", "depends-on", "priority", "cpu-quota", "start-timeout", "stop-timeout", "reset-after",
		} {
			if cmd.Flags().Changed(one) {
				return nil, misuse(cmd, "with -f the file says it all, leave --%s out", one)
			}
		}
		return c.specsOf(w.files)
	case len(args) == 0:
		return nil, misuse(cmd, "%s needs a NAME, or -f FILE", cmd.CommandPath())
	}
	if err := flagsOfZero(cmd); err != nil {
		return nil, err
	}
	s, err := w.spec(args[0])
	if err != nil {
		return nil, err
	}
	return []vm.Spec{s}, nil
}

// create makes each VM; a failure of one leaves the others alone.
func (c *cli) create(cmd *cobra.Command, specs []vm.Spec, start bool, a aim) error {
	node := c.node()
	byName, names := specsByName(specs)
	return c.change(cmd, names, a, func(name string) (*blixardv1.VM, error) {
		req := &blixardv1.CreateVMRequest{Spec: messages.SpecToProto(byName[name]), Start: start}
		return ask(cmd.Context(), c, node.CreateVM, req)
	})
}

// spec turns flags into a spec and refuses what the daemon would.
func (w wish) spec(name string) (vm.Spec, error) {
	s := vm.Spec{
		Name: vm.Name(name), CPUs: w.cpus,
		Boot: vm.Boot{
			Image: w.image, Kernel: absolute(w.kernel), Initrd: absolute(w.initrd), Cmdline: w.cmdline, Disk: absolute(w.disk),
			Runner: absolute(w.runner), Flake: specfile.Flake(absolute("."), w.flake),
		},
		Restart:   vm.Restart{Policy: vm.RestartPolicy(w.restart), ResetAfter: w.resets},
		Autostart: vm.Autostart{Policy: vm.AutostartPolicy(w.autostart), Priority: w.priority},
		Start:     vm.Start{Timeout: w.startTimeout},
		Stop:      vm.Stop{Timeout: w.stopTimeout},
	}
	var r *vm.Refusal
	if w.memory != "" {
		if s.Memory, r = specfile.ParseSize(w.memory); r != nil {
			return s, flagged("--memory", r)
		}
	}
	if w.cpuQuota != "" {
		if s.Resources.CPUQuota, r = specfile.ParsePercent(w.cpuQuota); r != nil {
			return s, flagged("--cpu-quota", r)
		}
	}
	if err := w.devices(&s); err != nil {
		return s, err
	}
	return s, s.Filled().Check()
}

func (w wish) devices(s *vm.Spec) error {
	for _, text := range w.disks {
		d, err := diskFlag(text)
		if err != nil {
			return err
		}
		s.Disks = append(s.Disks, d)
	}
	for _, text := range w.networks {
		n, err := networkFlag(text)
		if err != nil {
			return err
		}
		s.Networks = append(s.Networks, n)
	}
	for _, text := range w.depends {
		d, err := dependsFlag(text)
		if err != nil {
			return err
		}
		s.Autostart.DependsOn = append(s.Autostart.DependsOn, d)
	}
	for _, text := range w.checks {
		h, err := checkFlag(text)
		if err != nil {
			return err
		}
		s.Health = append(s.Health, h)
	}
	return nil
}

func diskFlag(text string) (vm.Disk, error) {
	var d vm.Disk
	err := pairs("--disk", text, "name, size, path, readonly", func(key, value string) (ok bool, r *vm.Refusal) {
		switch key {
		case "name":
			d.Name = value
		case "size":
			d.Size, r = specfile.ParseSize(value)
		case "path":
			d.Path = absolute(value)
		case "readonly":
			d.ReadOnly = value == "" || value == "true"
		default:
			return false, nil
		}
		return true, r
	})
	return d, err
}

func networkFlag(text string) (vm.Network, error) {
	n := vm.Network{}
	err := pairs("--network", text, "user, bridge, mac, mtu, mode", func(key, value string) (ok bool, r *vm.Refusal) {
		switch {
		case key == "mode":
			n.Mode = vm.NetworkMode(value)
		case key == "mac":
			n.MAC = value
		case key == "mtu":
			n.MTU, r = wholeNumber(value)
		case key == "bridge":
			n.Bridge = value
			n.Mode = vm.NetworkBridge
		case key == string(vm.NetworkUser) && value == "":
			n.Mode = vm.NetworkUser
		default:
			return false, nil
		}
		return true, r
	})
	return n, err
}

// dependsFlag reads VM[:running|:healthy][,timeout=SPAN].
func dependsFlag(text string) (vm.Dependency, error) {
	first, rest, _ := strings.Cut(text, ",")
	name, is, _ := strings.Cut(first, ":")
	d := vm.Dependency{VM: vm.Name(name), Is: is}
	err := pairs("--depends-on", rest, "timeout", func(key, value string) (ok bool, r *vm.Refusal) {
		if key == "timeout" {
			d.Timeout, r = specfile.ParseDuration(value)
		}
		return key == "timeout", r
	})
	return d, err
}

// pairs reads key=value,key=value.
func pairs(flag, text, known string, set func(key, value string) (bool, *vm.Refusal)) error {
	if text == "" {
		return nil
	}
	for one := range strings.SplitSeq(text, ",") {
		key, value, _ := strings.Cut(one, "=")
		ok, r := set(key, value)
		if r != nil {
			return flagged(flag+" "+key, r)
		}
		if !ok {
			return invalid("one of "+known, "%s doesn't know %.60q", flag, key)
		}
		if err := keyOfZero(flag, key, value); err != nil {
			return err
		}
	}
	return nil
}

func wholeNumber(s string) (int, *vm.Refusal) {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, &vm.Refusal{Code: vm.Invalid, Why: fmt.Sprintf("%.60q is no whole number", s), Try: "3"}
	}
	return n, nil
}

func flagged(flag string, r *vm.Refusal) error {
	return &vm.Refusal{Code: r.Code, Why: flag + ": " + r.Why, Try: r.Try}
}

func invalid(try, why string, args ...any) error {
	return &vm.Refusal{Code: vm.Invalid, Why: fmt.Sprintf(why, args...), Try: try}
}

// absolute lets a path start where the person stands, not where the daemon does.
func absolute(path string) string {
	if path == "" {
		return ""
	}
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}
