package main

import (
	"fmt"
	"net"

	"go.uber.org/zap"

	"github.com/blixard/blixard/host/control"
	"github.com/blixard/blixard/vm"
)

// listen takes the socket that the service manager holds for us, or makes one.
func (d *daemon) listen() (net.Listener, error) {
	if d.given != nil {
		mine, err := again(d.given)
		if err != nil {
			return nil, err
		}
		return control.Take(mine, d.socket)
	}
	return control.Listen(d.socket, 0o660, d.conf.Socket.Group)
}

// again is a listener of the same socket, which one life may close without
// taking it from the next.
func again(l *net.UnixListener) (*net.UnixListener, error) {
	file, err := l.File()
	if err != nil {
		return nil, fmt.Errorf("share the service manager's socket: %w", err)
	}
	defer func() { _ = file.Close() }()
	mine, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("share the service manager's socket: %w", err)
	}
	return mine.(*net.UnixListener), nil
}

// alive feeds the service manager's watchdog. The root actor calls it (P4: a
// tree that hangs is ended by the manager, started again, and its VMs adopted).
func (d *daemon) alive() { d.told(d.service.Alive(d.summary())) }

// ready tells that the node answers, and later that it is about to end.
func (d *daemon) ready()    { d.told(d.service.Ready(d.summary())) }
func (d *daemon) stopping() { d.told(d.service.Stopping("ending; VMs live on")) }

// told notes a word that didn't arrive: the next one may.
func (d *daemon) told(err error) {
	if err != nil {
		d.log.Warn("the service manager was not told", zap.Error(err))
	}
}

// summary is the status line: "12 VMs, 11 up". The root's first beat may come
// before the node is known here.
func (d *daemon) summary() string {
	node := d.tree.Load()
	if node == nil {
		return "starting"
	}
	vms := node.List()
	up := 0
	for i := range vms {
		if vms[i].State.Phase&(vm.Running|vm.Paused) != 0 {
			up++
		}
	}
	noun := "VMs"
	if len(vms) == 1 {
		noun = "VM"
	}
	return fmt.Sprintf("%d %s, %d up", len(vms), noun, up)
}
