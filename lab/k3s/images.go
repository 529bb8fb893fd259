package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"

	"github.com/sirupsen/logrus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const imagesDir = dataDir + "/agent/images"

// imageStore imports the archives of agent/images and pins their images against garbage collection. It remembers what it has tried; beyond a restart
// only when .cache.json exists (docs.k3s.io, Air-Gap Install).
type imageStore struct {
	bin   string
	tried map[string]archive
}

type archive struct {
	Size     int64     `json:"size"`
	Modified time.Time `json:"modTime"`
}

var archiveName = regexp.MustCompile(`\.(tar|tar\.gz|tgz|tar\.zst|tzst)$`)

// importImages waits for containerd and imports what is there.
func (s *server) importImages(ctx context.Context) error {
	connection := dialContainerd()
	defer connection.Close()
	if err := await(ctx, "containerd to answer", func(ctx context.Context) error {
		_, err := cri.NewImageServiceClient(connection).ImageFsInfo(ctx, &cri.ImageFsInfoRequest{})
		return err
	}); err != nil {
		return err
	}
	if text, err := os.ReadFile(filepath.Join(imagesDir, ".cache.json")); err == nil && json.Unmarshal(text, &s.images.tried) != nil {
		logrus.Infof("%s/.cache.json holds nothing yet", imagesDir)
	}
	s.images.scan(ctx)
	return nil
}

func dialContainerd() *grpc.ClientConn {
	return get(grpc.NewClient("unix://"+containerdSock, grpc.WithTransportCredentials(insecure.NewCredentials())))
}

// scan imports what is new or changed, by name. An archive that fails is tried again when it changes: it may be half written.
func (i *imageStore) scan(ctx context.Context) {
	for _, file := range get(filepath.Glob(imagesDir + "/*")) {
		info, err := os.Stat(file)
		if err != nil || !archiveName.MatchString(file) || i.tried[file] == (archive{info.Size(), info.ModTime().UTC()}) {
			continue
		}
		i.tried[file] = archive{info.Size(), info.ModTime().UTC()}
		start := time.Now()
		if err := i.importArchive(ctx, file); err != nil {
			logrus.Errorf("Unable to import %s: %v", file, err)
			continue
		}
		logrus.Infof("Imported images from %s in %s", file, time.Since(start).Round(time.Millisecond))
		if memory := filepath.Join(imagesDir, ".cache.json"); get(filepath.Glob(memory)) != nil {
			replaceFile(memory, get(json.Marshal(i.tried)), 0o644)
		}
	}
}

func (i *imageStore) importArchive(ctx context.Context, path string) error {
	ctr := exec.CommandContext(ctx, filepath.Join(i.bin, "ctr"), "--address", containerdSock, "--namespace", "k8s.io",
		"images", "import", "--label", "io.cri-containerd.pinned=pinned", path)
	ctr.Env = environ(i.bin)
	if output, err := ctr.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, output)
	}
	return nil
}
