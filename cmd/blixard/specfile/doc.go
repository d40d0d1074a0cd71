// Package specfile reads and writes the spec of a VM as people write it: YAML
// (and so JSON), one or more documents in a file.
//
//	file ──limits──▶ tokens ──depth──▶ tree ──fields──▶ vm.Spec ──Check──▶ specs
//
// It is strict: a field that nobody knows, a size without a unit that exists,
// a field written twice or an anchor are errors with file, line and column, and
// with what was probably meant. The tree is walked by the tables in fields.go;
// aliases are never followed, so no file unfolds into more than it holds.
package specfile
