package folders

import (
	"archive/tar"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// Owed says whether a bundle is still to be kept; see host.Bundles.
func (f Bundles) Owed(_ context.Context, ref vm.Ref, number uint64) (bool, error) {
	shelf, err := f.shelf(ref, false)
	if host.KindOf(err) == host.Gone {
		at := f.Paths(ref)
		_, err := os.Lstat(at.Manifest)
		return err == nil, nil // a VM that has a folder and no bundle yet
	}
	if err != nil {
		return false, err
	}
	defer shelf.Close()
	if prunedIn(shelf) >= number {
		return false, nil
	}
	name := strconv.FormatUint(number, 10)
	if _, err = shelf.Lstat(name); err == nil {
		b, err := readBundle(shelf, name)
		return err == nil && b.VM != ref.VM, nil
	}
	return errors.Is(err, fs.ErrNotExist), nil
}

// List tells of the bundles of a VM; see host.Bundles.
func (f Bundles) List(_ context.Context, ref vm.Ref) ([]vm.KeptBundle, error) {
	shelf, out, err := f.stock(ref)
	if shelf == nil || err != nil {
		return nil, err
	}
	return out, shelf.Close()
}

// stock opens the shelf of a VM and lists what is on it; nil where it has none.
func (f Bundles) stock(ref vm.Ref) (*os.Root, []vm.KeptBundle, error) {
	shelf, err := f.shelf(ref, false)
	if host.KindOf(err) == host.Gone {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	all, err := listOf(shelf, ref.VM)
	if err != nil {
		return nil, nil, errors.Join(fail("list bundles in "+shelf.Name(), shelf.Name(), err), shelf.Close())
	}
	return shelf, all, nil
}

// listOf leaves out what isn't that VM's.
func listOf(shelf *os.Root, id vm.ID) ([]vm.KeptBundle, error) {
	all, err := listIn(shelf)
	return slices.DeleteFunc(all, func(k vm.KeptBundle) bool {
		return !belongs(shelf, strconv.FormatUint(k.Number, 10), id)
	}), err
}

// listIn reads names and sizes; a folder that is no bundle of ours hides no other (P13).
func listIn(shelf *os.Root) ([]vm.KeptBundle, error) {
	names, err := namesIn(shelf)
	if err != nil {
		return nil, err
	}
	var out []vm.KeptBundle
	for _, name := range names {
		if !bundleNumber.MatchString(name) {
			continue
		}
		if one, err := keptIn(shelf, name); err == nil {
			out = append(out, one)
		}
	}
	slices.SortFunc(out, older)
	return out, nil
}

func older(a, b vm.KeptBundle) int { return cmp.Compare(a.Number, b.Number) }

func keptIn(shelf *os.Root, name string) (vm.KeptBundle, error) {
	n, err := strconv.ParseUint(name, 10, 64)
	if err != nil {
		return vm.KeptBundle{}, err
	}
	in, err := openBundle(shelf, name)
	if err != nil {
		return vm.KeptBundle{}, err
	}
	defer in.Close()
	names, err := namesIn(in)
	if err != nil {
		return vm.KeptBundle{}, err
	}
	out := vm.KeptBundle{Number: n}
	for _, file := range names {
		at, err := in.Lstat(file)
		if err != nil || !at.Mode().IsRegular() {
			continue
		}
		out.Bytes += held(file, at)
		out.Core = out.Core || file == coreName
		if file == bundleName {
			out.At = at.ModTime()
		}
		out.Dump = out.Dump || isDumpFile(file)
	}
	return out, nil
}

func openBundle(shelf *os.Root, name string) (*os.Root, error) {
	if _, err := dirAt(shelf, name); err != nil {
		return nil, err
	}
	return shelf.OpenRoot(name)
}

func readBundle(shelf *os.Root, name string) (vm.Bundle, error) {
	var out vm.Bundle
	in, err := openBundle(shelf, name)
	if err != nil {
		return out, err
	}
	defer in.Close()
	file, _, err := openPlain(in, bundleName)
	if err != nil {
		return out, err
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, int64(maxBundle)))
	if err != nil {
		return out, err
	}
	return out, json.Unmarshal(b, &out)
}

// found opens the shelf for one of its bundles.
func (f Bundles) found(ref vm.Ref, number uint64, doing string) (*os.Root, string, error) {
	shelf, err := f.shelf(ref, false)
	if err != nil {
		return nil, "", err
	}
	name := strconv.FormatUint(number, 10)
	if _, err := dirAt(shelf, name); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = host.Fail(host.Gone, doing, err)
		}
		return nil, "", errors.Join(fail(doing, shelf.Name(), err), shelf.Close())
	}
	if b, err := readBundle(shelf, name); err == nil && b.VM != ref.VM {
		return nil, "", errors.Join(host.Fail(host.Gone, doing, fmt.Errorf("it is of VM %s, not of %s", b.VM, ref.VM)), shelf.Close())
	} else if err != nil {
		return nil, "", errors.Join(fail(doing, shelf.Name(), err), shelf.Close())
	}
	return shelf, name, nil
}

// Read returns one bundle; see host.Bundles.
func (f Bundles) Read(_ context.Context, ref vm.Ref, number uint64, tail vm.Bytes) (host.Evidence, error) {
	doing := fmt.Sprintf("read bundle %d of %s", number, ref.Name)
	shelf, name, err := f.found(ref, number, doing)
	if err != nil {
		return host.Evidence{}, err
	}
	defer shelf.Close()
	b, err := readBundle(shelf, name)
	if err != nil {
		return host.Evidence{}, fail(doing, shelf.Name(), err)
	}
	in, err := openBundle(shelf, name)
	if err != nil {
		return host.Evidence{}, fail(doing, shelf.Name(), err)
	}
	defer in.Close()
	out := host.Evidence{Bundle: b}
	for _, one := range []struct {
		name string
		to   *[]byte
	}{{consoleName, &out.Console}, {stderrName, &out.Stderr}} {
		text, err := endOf(in, one.name, tail)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return out, fail(doing, shelf.Name(), err)
		}
		*one.to = text
	}
	return out, nil
}

// Export writes one bundle as a tar archive; see host.Bundles.
func (f Bundles) Export(ctx context.Context, ref vm.Ref, number uint64, into io.Writer) error {
	doing := fmt.Sprintf("export bundle %d of %s", number, ref.Name)
	shelf, name, err := f.found(ref, number, doing)
	if err != nil {
		return err
	}
	defer shelf.Close()
	in, err := openBundle(shelf, name)
	if err != nil {
		return fail(doing, shelf.Name(), err)
	}
	defer in.Close()
	names, err := namesIn(in)
	if err != nil {
		return fail(doing, shelf.Name(), err)
	}
	slices.Sort(names)
	t := tar.NewWriter(into)
	for _, file := range names {
		if err := ctx.Err(); err != nil {
			return fail(doing, shelf.Name(), err)
		}
		if err := archive(t, in, file, fmt.Sprintf("%s-crash-%s/%s", ref.Name, name, file)); err != nil {
			return fail(doing, shelf.Name(), err)
		}
	}
	if err := t.Close(); err != nil {
		return fail(doing, shelf.Name(), err)
	}
	return nil
}

func archive(t *tar.Writer, in *os.Root, name, as string) error {
	file, size, err := openPlain(in, name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer file.Close()
	at, err := file.Stat()
	if err != nil {
		return err
	}
	if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: as, Mode: 0o600, Size: int64(size), ModTime: at.ModTime()}); err != nil {
		return err
	}
	_, err = io.CopyN(t, file, int64(size))
	return err
}
