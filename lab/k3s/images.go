package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/sirupsen/logrus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const imagesDir = dataDir + "/agent/images"

// imageStore imports the archives of agent/images and pins their images against garbage collection. It remembers what it has tried; between runs only
// when .cache.json exists (docs.k3s.io, Air-Gap Install, conditional image imports).
type imageStore struct {
	bin   string
	tried map[string]archive
}

type archive struct {
	Size     int64     `json:"size"`
	Modified time.Time `json:"modTime"`
}

func newImageStore(bin string) *imageStore { return &imageStore{bin: bin, tried: map[string]archive{}} }

func dialContainerd() (*grpc.ClientConn, error) {
	return grpc.NewClient("unix://"+containerdSock, grpc.WithTransportCredentials(insecure.NewCredentials()))
}

// importImages waits for containerd and imports what is there, before any pod asks for it.
func (s *server) importImages(ctx context.Context) error {
	connection, err := dialContainerd()
	if err != nil {
		return err
	}
	defer connection.Close()
	if err := await(ctx, "containerd to answer", func(ctx context.Context) error {
		_, err := cri.NewImageServiceClient(connection).ImageFsInfo(ctx, &cri.ImageFsInfoRequest{})
		return err
	}); err != nil {
		return err
	}
	if text, err := os.ReadFile(filepath.Join(imagesDir, ".cache.json")); err == nil && len(bytes.TrimSpace(text)) > 0 {
		if err := json.Unmarshal(text, &s.images.tried); err != nil {
			logrus.Warnf("%s/.cache.json is not used: %v", imagesDir, err)
		}
	}
	s.images.scan(ctx)
	return nil
}

// watch imports what is put there while the server runs.
func (i *imageStore) watch(ctx context.Context) {
	for tick := time.NewTicker(2 * time.Second); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			i.scan(ctx)
		}
	}
}

// scan imports what is new or changed, by name. An archive that fails is tried again when it changes: it may be half written.
func (i *imageStore) scan(ctx context.Context) {
	files, err := filepath.Glob(imagesDir + "/*")
	if err != nil {
		logrus.Error(err)
	}
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil || info.IsDir() || !archiveName.MatchString(file) {
			continue
		}
		if now := (archive{info.Size(), info.ModTime().UTC()}); i.tried[file] != now {
			i.tried[file] = now
			start := time.Now()
			if err := i.importArchive(ctx, file); err != nil {
				logrus.Errorf("Unable to import %s: %v", file, err)
			} else {
				logrus.Infof("Imported images from %s in %s", file, time.Since(start).Round(time.Millisecond))
				i.remember()
			}
		}
	}
}

var archiveName = regexp.MustCompile(`\.(tar|tar\.gz|tgz|tar\.zst|tzst)$`)

func (i *imageStore) remember() {
	path := filepath.Join(imagesDir, ".cache.json")
	if _, err := os.Stat(path); err != nil {
		return
	}
	text, err := json.Marshal(i.tried)
	if err == nil {
		err = replaceFile(path, text, 0o644)
	}
	if err != nil {
		logrus.Warn(err)
	}
}

func (i *imageStore) importArchive(ctx context.Context, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	plain := io.Reader(file)
	switch {
	case strings.HasSuffix(path, "zst"):
		decoder, err := zstd.NewReader(file, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
		if err != nil {
			return err
		}
		defer decoder.Close()
		plain = decoder
	case strings.HasSuffix(path, "gz"):
		if plain, err = gzip.NewReader(file); err != nil {
			return err
		}
	}
	before, err := i.ctr(ctx, nil, "list", "--quiet", `labels."io.cri-containerd.pinned"==pinned`)
	if err != nil {
		return err
	}
	if _, err := i.ctr(ctx, plain, "import", "-"); err != nil {
		return err
	}
	after, err := i.ctr(ctx, nil, "list", "--quiet")
	if err != nil {
		return err
	}
	for _, name := range strings.Fields(after) {
		if strings.HasPrefix(name, "sha256:") || strings.Contains("\n"+before, "\n"+name+"\n") {
			continue
		}
		if _, err := i.ctr(ctx, nil, "label", name, "io.cri-containerd.pinned=pinned"); err != nil {
			return err
		}
	}
	return nil
}

func (i *imageStore) ctr(ctx context.Context, input io.Reader, args ...string) (string, error) {
	command := exec.CommandContext(ctx, filepath.Join(i.bin, "ctr"), append([]string{"--address", containerdSock, "--namespace", "k8s.io", "images"}, args...)...)
	var problem bytes.Buffer
	command.Stdin, command.Stderr, command.Env = input, &problem, environ(i.bin)
	output, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("ctr images %s: %w: %s", args[0], err, bytes.TrimSpace(problem.Bytes()))
	}
	return string(output), nil
}
