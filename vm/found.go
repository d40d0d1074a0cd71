package vm

// What a look at the machine found of ours. The reconciler compares it with the
// records.

// FoundVMM is a live VMM with the identity in its tags.
type FoundVMM struct {
	Ref     Ref
	Process Process
}

// FoundLink is a link of the host that carries our alias.
type FoundLink struct {
	Name   string
	Index  int
	VM     ID          // by its alias
	Number Incarnation // by its alias; 0: a built runner made it, whose taps say none
}

// FoundFolder is a VM's durable folder, or what is left of one.
type FoundFolder struct {
	Path   string
	Name   Name        // by its own name
	ID     ID          // by its manifest; empty: none that can be read
	Slot   uint32      // by its manifest
	Spec   *Spec       // by its manifest
	Last   Incarnation // the highest that has left a log; 0: none
	Bytes  Bytes       // what it holds on the host
	Why    string      // why its manifest can't be read
	Folder bool        // the durable folder exists
	Tenant Incarnation // whose run folder it says it is; 0: it doesn't say
	Run    bool        // a run folder exists

	Saved []Incarnation // whose guests are saved in it, whole or not
	Good  []Incarnation // whose known-good states are in it, whole or not
}
