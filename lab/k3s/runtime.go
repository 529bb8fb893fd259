package main

import (
	"archive/tar"
	"embed"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/klauspost/compress/zstd"
)

// binaries are containerd, its shim, ctr, runc, the CNI plugins, iptables and nft, each compressed; build.sh puts them there, and names the set by its content.
//
//go:embed bin/*.zst
var binaries embed.FS
var binariesName = "unnamed"

// runtimeBin unpacks the binaries into data/NAME/bin on first use, with iptables and nft in its folder aux as in K3s, and returns their directory. It then replaces the process by itself, so that what
// unpacking touched does not stay in the memory of a long-running server.
func runtimeBin() string {
	target := filepath.Join(dataDir, "data", binariesName)
	if _, err := os.Stat(target); err != nil {
		partial := target + ".partial"
		must(os.RemoveAll(partial))
		must(os.MkdirAll(filepath.Join(partial, "bin/aux"), 0o755))
		for _, entry := range get(binaries.ReadDir("bin")) {
			unpack("bin/"+entry.Name(), filepath.Join(partial, "bin", strings.TrimSuffix(entry.Name(), ".zst")))
		}
		must(os.Rename(partial, target))
		must(syscall.Exec(get(os.Executable()), os.Args, os.Environ()))
	}
	return filepath.Join(target, "bin")
}

// unpack writes a program, or the files of an archive into the folder aux beside it (a name that Go embeds no file under).
func unpack(name, target string) {
	packed := get(binaries.Open(name))
	defer packed.Close()
	plain := get(zstd.NewReader(packed, zstd.WithDecoderConcurrency(1)))
	defer plain.Close()
	if !strings.HasSuffix(target, ".tar") {
		write(target, plain)
		return
	}
	archive := tar.NewReader(plain)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		must(err)
		if header.Typeflag == tar.TypeReg {
			write(filepath.Join(filepath.Dir(target), "aux", filepath.Base(header.Name)), archive)
		}
	}
}

func write(target string, content io.Reader) {
	file := get(os.OpenFile(target, os.O_CREATE|os.O_WRONLY, 0o755))
	get(io.Copy(file, content))
	must(file.Close())
}
