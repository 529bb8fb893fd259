package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/sirupsen/logrus"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/client-go/util/cert"
	bootstrap "k8s.io/cluster-bootstrap/token/util"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"shaka.platform/lab/k3s/internal/pki"
)

// ctr is containerd's own client, with K3s's socket and namespace.
func ctr(args []string) {
	own := []string{"ctr", "--address", containerdSock, "--namespace", "k8s.io"}
	must(syscall.Exec(filepath.Join(runtimeBin(), "ctr"), append(own, args...), os.Environ()))
}

// crictl answers `images`, `pods`, `ps`, and of an image `inspecti` and `pull`, always as -o json does. The module of the real one is not served.
func crictl(args []string) {
	connection := dialContainerd()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	image := &cri.ImageSpec{Image: append(args, "")[max(len(args)-1, 0)]}
	images, pods := cri.NewImageServiceClient(connection), cri.NewRuntimeServiceClient(connection)
	var answer proto.Message
	switch append(args, "")[0] {
	case "images":
		answer = get(images.ListImages(ctx, &cri.ListImagesRequest{}))
	case "pods":
		answer = get(pods.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{}))
	case "ps":
		answer = get(pods.ListContainers(ctx, &cri.ListContainersRequest{}))
	case "inspecti":
		found := get(images.ImageStatus(ctx, &cri.ImageStatusRequest{Image: image}))
		if found.Image == nil {
			logrus.Fatalf("no such image %q present", image.Image)
		}
		answer = found
	case "pull":
		answer = get(images.PullImage(ctx, &cri.PullImageRequest{Image: image}))
	default:
		logrus.Fatal("crictl: the lab stand-in has images, pods, ps, inspecti and pull")
	}
	fmt.Println(protojson.MarshalOptions{Multiline: true, EmitUnpopulated: true}.Format(answer))
}

// certificateCommand lists the certificates and how long they are valid.
func certificateCommand(args []string) {
	if append(args, "")[0] != "check" {
		logrus.Fatal("certificate: the lab stand-in has only check")
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 4, 3, ' ', 0)
	fmt.Fprintln(table, "FILENAME\tSUBJECT\tEXPIRES\tRESIDUAL TIME\tSTATUS")
	for _, file := range get(filepath.Glob(certificates.Path("*.crt"))) {
		c := get(cert.CertsFromFile(file))[0]
		left, status := time.Until(c.NotAfter), "OK"
		switch {
		case left < 0:
			status = "EXPIRED"
		case left < pki.RenewBefore:
			status = "WARNING"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", filepath.Base(file), c.Subject.CommonName, c.NotAfter.UTC().Format("Jan 02, 2006 15:04 MST"), duration.HumanDuration(left), status)
	}
	must(table.Flush())
}

// tokenCommand makes a join token; there is nothing here to join.
func tokenCommand(args []string) {
	if strings.Join(args, " ") != "generate" {
		logrus.Fatalf("token: the lab stand-in has only generate; the server's token is in %s/server/token", dataDir)
	}
	fmt.Println(get(bootstrap.GenerateBootstrapToken()))
}
