package main

import (
	"embed"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/klauspost/compress/zstd"
)

// binaries are containerd, its shim, ctr, runc and the CNI plugins, each compressed; build.sh puts them there, and names the set by its content.
//
//go:embed bin/*.zst
var binaries embed.FS
var binariesName = "unnamed"

// runtimeBin unpacks the binaries into data/NAME on first use and returns their directory. It then replaces the process by itself, so that what
// unpacking touched does not stay in the memory of a long-running server.
func runtimeBin() string {
	target := filepath.Join(dataDir, "data", binariesName)
	if _, err := os.Stat(target); err != nil {
		partial := target + ".partial"
		must(os.RemoveAll(partial))
		must(os.MkdirAll(partial, 0o755))
		for _, entry := range get(binaries.ReadDir("bin")) {
			unpack("bin/"+entry.Name(), filepath.Join(partial, strings.TrimSuffix(entry.Name(), ".zst")))
		}
		must(os.Rename(partial, target))
		must(syscall.Exec(get(os.Executable()), os.Args, os.Environ()))
	}
	return target
}

func unpack(name, target string) {
	packed := get(binaries.Open(name))
	defer packed.Close()
	plain := get(zstd.NewReader(packed, zstd.WithDecoderConcurrency(1)))
	defer plain.Close()
	file := get(os.OpenFile(target, os.O_CREATE|os.O_WRONLY, 0o755))
	get(io.Copy(file, plain))
	must(file.Close())
}
