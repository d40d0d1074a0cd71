package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/blixard/blixard/actors"
	"github.com/blixard/blixard/actors/gateway"
	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/console"
	"github.com/blixard/blixard/host/control"
	"github.com/blixard/blixard/host/folders"
	"github.com/blixard/blixard/host/netlink"
	"github.com/blixard/blixard/host/notify"
	"github.com/blixard/blixard/host/procfs"
	"github.com/blixard/blixard/host/reach"
	"github.com/blixard/blixard/persistence"
	"github.com/blixard/blixard/vm"
)

// letGo is how long an orderly end may take: the VMs live on, so there is little to do.
const letGo = 2 * time.Second

func daemonCommand(c *cli) *cobra.Command {
	var o daemonOptions
	cmd := &cobra.Command{
		Use:   "daemon",
		Short: "Run the node: keep its VMs alive and answer on the socket",
		Long: "Run the node in the foreground. VMs live apart from this process: ending it, by\n" +
			"any signal, leaves them running, and the next start adopts them.",
		Example: "  blixard daemon\n  blixard daemon --state-dir ./state --socket ./sock --log-level debug",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			o.socket = c.socketPath()
			return runDaemon(context.Background(), o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.config, "config", "", "configuration file (YAML)")
	f.StringVar(&o.state, "state-dir", "", "state folder (default $BLIXARD_STATE_DIR, /var/lib/blixard for root)")
	f.StringVar(&o.launcher, "launcher", launcherAuto, "who holds the VMMs: auto, systemd or process")
	f.StringVar(&o.accel, "accel", "auto", "acceleration: auto, kvm or tcg")
	f.BoolVar(&o.faults, "enable-faults", false, "let faults be injected: for tests, never on a node that matters")
	f.StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&o.logFormat, "log-format", "auto", "auto, console or json")
	return cmd
}

type daemonOptions struct {
	config, state, socket, launcher, accel, logLevel, logFormat string
	faults                                                      bool
}

// runDaemon is the node, from one life to the next where a repair has made it a
// new store. What a life holds is let go in reverse order; no guest is part of
// that (P6).
func runDaemon(ctx context.Context, o daemonOptions) error {
	boundGarbage()
	ctx, release := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer release()
	if err := o.fill(); err != nil {
		return err
	}
	conf, err := readConfig(o.config)
	if err != nil {
		return err
	}
	service, err := notify.Open() // early: no child may inherit what it takes from the environment
	if err != nil {
		return err
	}
	log, err := newLog(o)
	if err != nil {
		return err
	}
	given, err := service.Listener(o.socket)
	if err != nil {
		return err
	}
	for {
		life, anew := context.WithCancelCause(ctx)
		d := &daemon{
			daemonOptions: o, conf: conf, log: log, service: service, given: given, run: filepath.Dir(o.socket),
			anew: func() { anew(errAnew) },
		}
		err := d.live(life)
		anew(nil)
		if err != nil || !errors.Is(context.Cause(life), errAnew) {
			return err
		}
	}
}

// errAnew ends a life that another one follows.
var errAnew = errors.New("the node begins anew")

// live is one life.
func (d *daemon) live(ctx context.Context) error {
	defer d.letGo()
	if err := d.open(); err != nil { //nolint:contextcheck // what is opened lives longer than any one call
		return err
	}
	return d.serve(ctx)
}

// daemon is what one life of the node has opened.
type daemon struct {
	daemonOptions
	conf    config
	log     *zap.Logger
	run     string // run folder, beside the socket
	service *notify.Service
	given   *net.UnixListener           // the service manager's socket; nil: ours
	anew    func()                      // ends this life, and begins the next
	tree    atomic.Pointer[actors.Node] // node, for who asks before Start has returned
	closes  []func()

	boot      vm.BootID
	id        string // of the node, as its VMMs carry it
	store     persistence.Store
	disk      *persistence.Pebble   // the store, where it is on disk
	measuring atomic.Bool           // a look at the free space is under way
	trouble   *persistence.Unusable // with the store on disk: safe mode; nil: there is none
	repairing atomic.Bool           // or repaired: a second one would move the new store aside
	ports     host.Ports
	console   *console.Console
	folders   *folders.Folders
	vmms      *vmms
	metrics   *actors.Metrics
	node      *actors.Node

	noSystemd string // why its launcher isn't used, where that is so by itself
}

func (d *daemon) later(f func()) { d.closes = append(d.closes, f) }

func (d *daemon) letGo() {
	for i := len(d.closes) - 1; i >= 0; i-- {
		d.closes[i]()
	}
	_ = d.log.Sync() // a terminal can't be synced, and says so
}

// open takes the socket first: whoever has it is the node's only daemon, and
// nothing is touched before that is known.
func (d *daemon) open() error {
	listener, err := d.listen()
	if err != nil {
		return err
	}
	d.later(func() { _ = listener.Close() })
	if err := d.openStore(); err != nil {
		return err
	}
	if err := d.openHost(); err != nil {
		return err
	}
	safe := ""
	if d.trouble != nil {
		safe = d.trouble.Why
		if err := d.rebuild(context.Background()); err != nil {
			return err
		}
	}
	d.metrics = actors.NewMetrics()
	observer, store := actors.Observer(d.metrics), d.store
	point, err := readFault(d.faults)
	if err != nil {
		return err
	}
	if point != nil {
		observer, store = faultyObserver{observer, point}, faultyStore{store, point}
	}
	d.node, err = actors.Start(actors.Config{
		Ports: d.ports, Store: store, Log: d.log, Observer: observer, Doctor: d.doctor, Status: d.status,
		Alive: d.alive, AliveEvery: d.service.AliveEvery(), Conduct: d.conf.conduct(), Resources: d.conf.shares, Accel: d.vmms.accelerated, SafeMode: safe, Repair: d.repair,
		Housekeep: d.housekeep, LowSpace: d.lowSpace, Crashes: d.conf.bundles,
		Fatal: func(why string) {
			d.log.Fatal("a promise was broken; VMs live on and are adopted at the next start", zap.String("why", why))
		},
	})
	if err != nil {
		return err
	}
	d.tree.Store(d.node)
	d.metrics.Show(d.node)
	d.later(d.stopNode)
	return d.openDoor(listener)
}

// openHost makes the ports: the only place that names concrete adapters.
func (d *daemon) openHost() error {
	boot, err := procfs.Default.BootID()
	if err != nil {
		return err
	}
	d.boot = boot
	launcher, err := d.openLauncher(boot, d.id)
	if err != nil {
		return err
	}
	links, err := netlink.New(netlink.Config{Node: d.id, Bridges: d.conf.bridges, Log: d.log.Named("links")})
	if err != nil {
		return err
	}
	d.later(links.Close)
	owners := host.Owners{UID: d.conf.VMM.UID, GID: d.conf.VMM.GID}
	images := filepath.Join(d.state, "images")
	d.folders, err = folders.New(folders.Config{State: d.state, Run: d.run, Owners: owners})
	if err != nil {
		return err
	}
	d.console, err = console.New(console.Config{})
	if err != nil {
		return err
	}
	d.later(func() { _ = d.console.Close() })
	d.vmms = newVMMs(d, owners, images)
	d.ports = host.Ports{
		Launcher: launcher, Driver: d.vmms, Agent: d.vmms.agent(), Console: d.console, Folders: d.folders, Salvage: d.folders, Bundles: folders.Bundles{Folders: d.folders},
		Links: links, Machine: d.machine(launcher.Name()), Meter: d.meter(launcher.Name()), Log: d.kernelLog(), Reach: reach.Client{}, Clock: d.clock(), Owners: owners, BootID: boot, Spread: spread,
	}
	return nil
}

func (d *daemon) stopNode() {
	ctx, cancel := context.WithTimeout(context.Background(), letGo)
	defer cancel()
	if err := d.node.Stop(ctx); err != nil {
		d.log.Warn("end", zap.Error(err))
	}
}

// serve answers until a signal, or until serving fails.
func (d *daemon) serve(ctx context.Context) error {
	d.log.Info("ready", zap.String("socket", d.socket), zap.String("state", d.state), zap.Int("vms", len(d.node.List())))
	d.ready()
	<-ctx.Done()
	if errors.Is(context.Cause(ctx), errAnew) {
		return nil
	}
	d.goDown() //nolint:contextcheck // the one that is done is why this happens
	d.stopping()
	d.log.Info("ending; VMs live on")
	return nil
}

// openDoor answers on the socket, and gives metrics on a loopback port where the configuration names one.
func (d *daemon) openDoor(l net.Listener) error {
	metrics := promhttp.HandlerFor(d.metrics.Registry, promhttp.HandlerOpts{})
	door := gateway.New(gateway.Config{
		Node: d.node, Journal: d.store, Consoles: d.console, Bundles: d.ports.Bundles, Paths: d.folders.Paths, Roles: d.conf.roles(), Log: d.log, Metrics: metrics,
	})
	server := control.NewServer(door, zap.NewStdLog(d.log))
	go func() {
		if err := server.Serve(l); err != nil {
			d.log.Fatal("the socket failed; VMs live on", zap.Error(err))
		}
	}()
	d.later(func() { server.Shutdown(context.Background()) })
	return d.openMetrics(metrics)
}

func (d *daemon) openMetrics(h http.Handler) error {
	if d.conf.Metrics.Address == "" {
		return nil
	}
	l, err := listenLoopback(d.conf.Metrics.Address)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", h)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			d.log.Warn("metrics", zap.Error(err))
		}
	}()
	d.later(func() { _ = server.Close() })
	return nil
}

// fill sets the places that were not named, and makes the state folder.
func (o *daemonOptions) fill() error {
	if o.launcher != launcherAuto && o.launcher != launcherSystemd && o.launcher != launcherProcess {
		return &vm.Refusal{Code: vm.Invalid, Why: fmt.Sprintf("launcher %q is not known", o.launcher), Try: "--launcher auto, systemd or process"}
	}
	if o.accel != "auto" && o.accel != "kvm" && o.accel != "tcg" {
		return &vm.Refusal{Code: vm.Invalid, Why: fmt.Sprintf("acceleration %q is not known", o.accel), Try: "--accel auto, kvm or tcg"}
	}
	if o.state == "" {
		o.state = defaultState()
	}
	for _, p := range []*string{&o.state, &o.socket} {
		abs, err := filepath.Abs(*p)
		if err != nil {
			return fmt.Errorf("find %s: %w", *p, err)
		}
		*p = abs
	}
	if err := os.MkdirAll(o.state, 0o711); err != nil {
		return &vm.Refusal{Code: vm.Unavailable, Why: fmt.Sprintf("make the state folder: %v", err), Try: "choose another with --state-dir, or mend its permissions"}
	}
	return nil
}
