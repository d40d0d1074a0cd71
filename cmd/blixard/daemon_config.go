package main

import (
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"

	"github.com/blixard/blixard/actors"
	"github.com/blixard/blixard/actors/gateway"
	"github.com/blixard/blixard/cmd/blixard/specfile"
	"github.com/blixard/blixard/host/netlink"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/persistence"
	"github.com/blixard/blixard/vm"
)

// config is the daemon's configuration file. Every key has a default.
type config struct {
	Socket struct {
		// Group may open the socket; empty: the daemon's own group.
		Group string `yaml:"group"`
		// Roles: group name → viewer, operator or admin. Members of Group that
		// have no role here are operators.
		Roles map[string]string `yaml:"roles"`
	} `yaml:"socket"`
	Metrics struct {
		// Address is a loopback address such as 127.0.0.1:9464; empty: metrics are on the socket alone.
		Address string `yaml:"address"`
	} `yaml:"metrics"`
	VMM struct {
		QEMU string `yaml:"qemu"` // path; empty: found in $PATH
		UID  int    `yaml:"uid"`  // one unprivileged user for all VMMs; 0: one for each VM
		GID  int    `yaml:"gid"`
	} `yaml:"vmm"`
	Resources resourcesConfig `yaml:"resources"`
	Alerts    alertsConfig    `yaml:"alerts"`
	Reclaim   reclaimConfig   `yaml:"reclaim"`
	Boot      bootConfig      `yaml:"boot"`
	Shutdown  struct {
		// Within is how long all VMs together may take to stop when the machine goes down; 0: 4m.
		Within duration `yaml:"within"`
	} `yaml:"shutdown"`
	Bridges []bridgeConfig `yaml:"bridges"`
	Crashes crashesConfig  `yaml:"crashes"`

	groups  map[int]messages.Role
	bridges []netlink.Bridge
	shares  actors.Resources
	bundles vm.BundleQuota
}

var roleNames = map[string]messages.Role{"viewer": messages.Viewer, "operator": messages.Operator, "admin": messages.Admin}

func readConfig(path string) (config, error) {
	var c config
	if path != "" {
		b, err := os.ReadFile(path) //nolint:gosec // the path is the administrator's
		if err != nil {
			return c, &vm.Refusal{Code: vm.Invalid, Why: fmt.Sprintf("read the configuration: %v", err), Try: "name a file that is there with --config"}
		}
		if err := specfile.Strict(path, b, &c); err != nil {
			return c, err
		}
	}
	if err := c.check(); err != nil {
		return c, err
	}
	c.groups = map[int]messages.Role{}
	for name, role := range c.Socket.Roles {
		g, err := user.LookupGroup(name)
		if err != nil {
			return c, &vm.Refusal{Code: vm.Invalid, Why: fmt.Sprintf("socket.roles names the group %q: %v", name, err), Try: "name a group that exists"}
		}
		r, ok := roleNames[role]
		if !ok {
			return c, &vm.Refusal{Code: vm.Invalid, Why: fmt.Sprintf("socket.roles gives %s the role %q", name, role), Try: "viewer, operator or admin"}
		}
		gid, err := strconv.Atoi(g.Gid)
		if err != nil {
			return c, fmt.Errorf("group %s: %w", name, err)
		}
		c.groups[gid] = r
	}
	return c, nil
}

// roles says who may do what: whoever the socket's mode lets in is an operator
// unless the configuration says otherwise.
func (c config) roles() gateway.Roles {
	return gateway.Roles{Self: os.Geteuid(), Groups: c.groups, Others: messages.Operator}
}

func defaultState() string {
	if dir := os.Getenv("BLIXARD_STATE_DIR"); dir != "" {
		return dir
	}
	if os.Geteuid() == 0 {
		return "/var/lib/blixard"
	}
	if dir := os.Getenv("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "blixard")
	}
	return filepath.Join(os.Getenv("HOME"), ".local/state/blixard")
}

// listenLoopback takes loopback addresses alone: metrics tell much of a node.
func listenLoopback(address string) (net.Listener, error) {
	where, err := net.ResolveTCPAddr("tcp", address)
	if err != nil || !where.IP.IsLoopback() {
		return nil, &vm.Refusal{
			Code: vm.Invalid, Why: fmt.Sprintf("metrics.address %q is no loopback address", address), Try: "127.0.0.1:9464",
		}
	}
	l, err := net.ListenTCP("tcp", where)
	if err != nil {
		return nil, &vm.Refusal{Code: vm.Unavailable, Why: fmt.Sprintf("listen for metrics: %v", err), Try: "choose another metrics.address"}
	}
	return l, nil
}

// newLog logs to standard error: for people on a terminal, JSON elsewhere.
func newLog(o daemonOptions) (*zap.Logger, error) {
	level, err := zapcore.ParseLevel(o.logLevel)
	if err != nil {
		return nil, &vm.Refusal{Code: vm.Invalid, Why: fmt.Sprintf("log level %q is not known", o.logLevel), Try: "debug, info, warn or error"}
	}
	format := o.logFormat
	if format == "auto" {
		format = "json"
		if term.IsTerminal(int(os.Stderr.Fd())) {
			format = "console"
		}
	}
	c := zap.NewProductionConfig()
	if format == "console" {
		c = zap.NewDevelopmentConfig()
		c.Development, c.DisableStacktrace = false, true
	} else if format != "json" {
		return nil, &vm.Refusal{Code: vm.Invalid, Why: fmt.Sprintf("log format %q is not known", format), Try: "auto, console or json"}
	}
	c.Level, c.DisableCaller, c.Sampling = zap.NewAtomicLevelAt(level), true, nil
	c.EncoderConfig.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	return c.Build()
}

func storeLog(log *zap.Logger) func(persistence.Level, string) {
	log = log.Named("store")
	return func(l persistence.Level, message string) {
		switch l {
		case persistence.Debug:
			log.Debug(message)
		case persistence.Info:
			log.Info(message)
		case persistence.Warn:
			log.Warn(message)
		case persistence.Error:
			log.Error(message)
		}
	}
}
