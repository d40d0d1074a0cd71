// Command gen compiles blixard/v1/*.proto of the folder messages and runs the Go
// plugins that go.mod pins. It needs neither protoc nor a network. An argument
// names another folder to read from and write to.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/linker"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// plugins are run from the module's own pins; module is cut from the paths of what they write.
var plugins = []string{
	"google.golang.org/protobuf/cmd/protoc-gen-go",
	"connectrpc.com/connect/cmd/protoc-gen-connect-go",
}

const parameter = "module=github.com/blixard/blixard/messages"

func main() {
	folder := "."
	if len(os.Args) > 1 {
		folder = os.Args[1]
	}
	if err := generate(context.Background(), folder); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func generate(ctx context.Context, folder string) error {
	paths, err := fs.Glob(os.DirFS(folder), "blixard/v1/*.proto")
	if err != nil || len(paths) == 0 {
		return fmt.Errorf("no blixard/v1/*.proto in %s: run it in messages (%v)", folder, err)
	}
	request, err := compile(ctx, folder, paths)
	if err != nil {
		return err
	}
	for _, plugin := range plugins {
		if err := run(ctx, folder, plugin, request); err != nil {
			return fmt.Errorf("%s: %w", plugin, err)
		}
	}
	return nil
}

// compile makes what protoc would hand to a plugin: every file after the ones it imports.
func compile(ctx context.Context, folder string, paths []string) ([]byte, error) {
	c := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{folder}}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := c.Compile(ctx, paths...)
	if err != nil {
		return nil, fmt.Errorf("compile: %w", err)
	}
	param := parameter
	request := &pluginpb.CodeGeneratorRequest{FileToGenerate: paths, Parameter: &param}
	seen := map[string]bool{}
	for _, f := range files {
		request.ProtoFile = appendFile(request.ProtoFile, f, seen)
	}
	return proto.Marshal(request)
}

func appendFile(to []*descriptorpb.FileDescriptorProto, f linker.File, seen map[string]bool) []*descriptorpb.FileDescriptorProto {
	if seen[f.Path()] {
		return to
	}
	seen[f.Path()] = true
	imports := f.Imports()
	for i := range imports.Len() {
		to = appendFile(to, f.FindImportByPath(imports.Get(i).Path()), seen)
	}
	return append(to, protodesc.ToFileDescriptorProto(f))
}

func run(ctx context.Context, folder, plugin string, request []byte) error {
	cmd := exec.CommandContext(ctx, "go", "run", plugin)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(request), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return err
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(out, &response); err != nil {
		return fmt.Errorf("read its answer: %w", err)
	}
	if response.Error != nil {
		return fmt.Errorf("%s", *response.Error)
	}
	for _, f := range response.File {
		path := filepath.Join(folder, f.GetName())
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(f.GetContent()), 0o644); err != nil {
			return err
		}
	}
	return nil
}
