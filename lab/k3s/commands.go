package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/client-go/util/cert"
	bootstrap "k8s.io/cluster-bootstrap/token/util"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// ctr is containerd's own client, with K3s's socket and namespace.
func ctr(args []string) error {
	bin, _, err := runtimeBin()
	if err != nil {
		return err
	}
	return syscall.Exec(filepath.Join(bin, "ctr"), append([]string{"ctr", "--address", containerdSock, "--namespace", "k8s.io"}, args...), os.Environ())
}

// crictl lists images, pods and containers, as a table or with -o json. The module of the real one is not served.
func crictl(args []string) error {
	flags := pflag.NewFlagSet("crictl", pflag.ContinueOnError)
	output := flags.StringP("output", "o", "table", "table or json")
	all := flags.BoolP("all", "a", false, "ps: exited containers too")
	if err := flags.Parse(args); err != nil {
		return err
	}
	connection, err := dialContainerd()
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var answer proto.Message
	var rows [][]string
	switch flags.Arg(0) {
	case "images":
		list, err := cri.NewImageServiceClient(connection).ListImages(ctx, &cri.ListImagesRequest{})
		if err != nil {
			return err
		}
		answer, rows = list, append(rows, []string{"IMAGE", "IMAGE ID", "SIZE", "PINNED"})
		for _, i := range list.Images {
			rows = append(rows, []string{strings.Join(i.RepoTags, ","), i.Id, fmt.Sprint(i.Size), fmt.Sprint(i.Pinned)})
		}
	case "pods":
		list, err := cri.NewRuntimeServiceClient(connection).ListPodSandbox(ctx, &cri.ListPodSandboxRequest{})
		if err != nil {
			return err
		}
		answer, rows = list, append(rows, []string{"POD ID", "CREATED", "STATE", "NAME", "NAMESPACE"})
		for _, p := range list.Items {
			rows = append(rows, []string{p.Id, age(p.CreatedAt), p.State.String(), p.Metadata.Name, p.Metadata.Namespace})
		}
	case "ps":
		request := &cri.ListContainersRequest{Filter: &cri.ContainerFilter{State: &cri.ContainerStateValue{State: cri.ContainerState_CONTAINER_RUNNING}}}
		if *all {
			request.Filter = nil
		}
		list, err := cri.NewRuntimeServiceClient(connection).ListContainers(ctx, request)
		if err != nil {
			return err
		}
		answer, rows = list, append(rows, []string{"CONTAINER", "IMAGE", "CREATED", "STATE", "NAME", "ATTEMPT", "POD ID"})
		for _, c := range list.Containers {
			rows = append(rows, []string{c.Id, c.Image.Image, age(c.CreatedAt), c.State.String(), c.Metadata.Name, fmt.Sprint(c.Metadata.Attempt), c.PodSandboxId})
		}
	default:
		return errors.New("crictl: the lab stand-in has images, pods and ps")
	}
	if *output == "json" {
		text, err := protojson.MarshalOptions{Multiline: true, EmitUnpopulated: true}.Marshal(answer)
		fmt.Println(string(text))
		return err
	}
	return printTable(rows)
}

func age(nanoseconds int64) string {
	return duration.HumanDuration(time.Since(time.Unix(0, nanoseconds))) + " ago"
}

func printTable(rows [][]string) error {
	table := tabwriter.NewWriter(os.Stdout, 0, 4, 3, ' ', 0)
	for _, row := range rows {
		if _, err := fmt.Fprintln(table, strings.Join(row, "\t")); err != nil {
			return err
		}
	}
	return table.Flush()
}

// certificateCommand lists the certificates and how long they are valid.
func certificateCommand(args []string) error {
	if len(args) == 0 || args[0] != "check" {
		return errors.New("certificate: the lab stand-in has only check")
	}
	files, err := filepath.Glob(certificates.Path("*.crt"))
	if err != nil {
		return err
	}
	rows := [][]string{{"FILENAME", "SUBJECT", "USAGES", "EXPIRES", "RESIDUAL TIME", "STATUS"}, {"--------", "-------", "------", "-------", "-------------", "------"}}
	for _, file := range files {
		chain, err := cert.CertsFromFile(file)
		if err != nil {
			return err
		}
		for _, c := range chain {
			usage, status, left := "CertSign", "OK", time.Until(c.NotAfter)
			if len(c.ExtKeyUsage) > 0 {
				usage = map[x509.ExtKeyUsage]string{x509.ExtKeyUsageClientAuth: "ClientAuth", x509.ExtKeyUsageServerAuth: "ServerAuth"}[c.ExtKeyUsage[0]]
			}
			if left < 120*24*time.Hour {
				status = "WARNING"
			}
			if left < 0 {
				status = "EXPIRED"
			}
			rows = append(rows, []string{filepath.Base(file), c.Subject.CommonName, usage, c.NotAfter.UTC().Format("Jan 02, 2006 15:04 MST"), duration.HumanDuration(left), status})
		}
	}
	return printTable(rows)
}

// tokenCommand makes a join token; there is nothing here to join.
func tokenCommand(args []string) error {
	if strings.Join(args, " ") != "generate" {
		return errors.New("token: the lab stand-in has only generate; the server's token is in " + dataDir + "/server/token")
	}
	token, err := bootstrap.GenerateBootstrapToken()
	fmt.Println(token)
	return err
}
