package main

import (
	"archive/tar"
	"bytes"
	_ "embed"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/klauspost/compress/zstd"
)

// runtimeArchive holds containerd, its shim, ctr, runc and the CNI plugins under bin/; build.sh makes it, and names it by its content.
//
//go:embed runtime.tar.zst
var runtimeArchive []byte
var runtimeName = "unnamed"

// runtimeBin unpacks the archive into data/NAME on first use, points data/current there, and returns the directory of the binaries.
func runtimeBin() (dir string, unpacked bool, err error) {
	target := filepath.Join(dataDir, "data", runtimeName)
	if _, err := os.Stat(target); errors.Is(err, fs.ErrNotExist) {
		partial := target + ".partial"
		if err := os.RemoveAll(partial); err != nil {
			return "", false, err
		}
		if err := unpack(partial); err != nil {
			return "", false, err
		}
		if err := os.Rename(partial, target); err != nil {
			return "", false, err
		}
		unpacked = true
	}
	link := filepath.Join(dataDir, "data/current")
	if now, err := os.Readlink(link); err != nil || now != target {
		if err := os.RemoveAll(link + ".new"); err != nil {
			return "", false, err
		}
		if err := os.Symlink(target, link+".new"); err != nil {
			return "", false, err
		}
		if err := os.Rename(link+".new", link); err != nil {
			return "", false, err
		}
	}
	return filepath.Join(target, "bin"), unpacked, nil
}

func unpack(target string) error {
	if err := os.MkdirAll(filepath.Join(target, "bin"), 0o755); err != nil {
		return err
	}
	plain, err := zstd.NewReader(bytes.NewReader(runtimeArchive), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return err
	}
	defer plain.Close()
	for files := tar.NewReader(plain); ; {
		header, err := files.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		file, err := os.OpenFile(filepath.Join(target, "bin", filepath.Base(header.Name)), os.O_CREATE|os.O_WRONLY, 0o755)
		if err != nil {
			return err
		}
		_, err = io.Copy(file, files)
		if err := errors.Join(err, file.Close()); err != nil {
			return err
		}
	}
}

// startAfresh replaces this process by itself, so that what unpacking touched does not stay in its memory.
func startAfresh() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return syscall.Exec(self, os.Args, os.Environ())
}
