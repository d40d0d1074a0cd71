package gateway

import (
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/messages/blixardv1/blixardv1connect"
)

// method is what the door has to know of a method before it lets a call in.
type method struct {
	role messages.Role
	kind kind
}

// kind is how long a call lives.
type kind uint8

const (
	short  kind = iota // answered at once
	long               // waits or streams; one request message
	twoWay             // streams both ways; has no end of its body
)

const service = "/" + blixardv1connect.NodeName + "/"

// methods has a row for each method of the service (a test holds that).
var methods = map[string]method{
	"CreateVM":  {role: messages.Admin},
	"Apply":     {role: messages.Admin},
	"DeleteVM":  {role: messages.Admin},
	"StartVM":   {role: messages.Operator},
	"StopVM":    {role: messages.Operator},
	"RestartVM": {role: messages.Operator},
	"PauseVM":   {role: messages.Operator},
	"ResumeVM":  {role: messages.Operator},
	"SuspendVM": {role: messages.Operator},
	"ResetVM":   {role: messages.Operator},

	// Both are root inside the guest, and never more than that on the node. They
	// make no turn whose entry would name the caller, so they journal themselves.
	"ExecVM":  {role: messages.Operator, kind: long},
	"Console": {role: messages.Operator, kind: twoWay},

	// A bundle and a dump may hold all secrets of a guest, and fill the disk.
	"ExportCrash":  {role: messages.Admin, kind: long},
	"PruneCrashes": {role: messages.Admin},
	"DumpVM":       {role: messages.Admin, kind: long},

	// The message inside is admitted by its own row.
	"Send": {role: messages.Viewer, kind: long},

	// These concern the node as a whole, and may take as long as its guests do.
	"ApplyPlan":          {role: messages.Admin, kind: long},
	"RestoreQuarantined": {role: messages.Admin, kind: long},
	"NodeRepair":         {role: messages.Admin, kind: long},
	"ShutdownNode":       {role: messages.Admin, kind: long},

	"GetVM":         {role: messages.Viewer},
	"ListVMs":       {role: messages.Viewer},
	"ExplainVM":     {role: messages.Viewer},
	"ListCrashes":   {role: messages.Viewer},
	"GetCrash":      {role: messages.Viewer},
	"NodeStatus":    {role: messages.Viewer},
	"NodeResources": {role: messages.Viewer},
	"NodeTree":      {role: messages.Viewer},
	"Version":       {role: messages.Viewer},
	"WaitVM":        {role: messages.Viewer, kind: long},
	"WatchEvents":   {role: messages.Viewer, kind: long},
	"Logs":          {role: messages.Viewer, kind: long},
	"NodePlan":      {role: messages.Viewer, kind: long}, // fresh: looks at the whole host
	"NodeDoctor":    {role: messages.Viewer, kind: long}, // may boot a probe guest
}
