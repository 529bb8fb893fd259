// Command render prints a Helm chart's objects, without hooks and notes, as `helm template` does: render CHART NAME NAMESPACE VALUES-AS-YAML.
package main

import (
	"fmt"
	"log"
	"maps"
	"os"
	"strings"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/releaseutil"
)

func main() {
	if len(os.Args) != 5 {
		log.Fatal("usage: render CHART NAME NAMESPACE VALUES-AS-YAML")
	}
	chart, err := loader.Load(os.Args[1])
	check(err)
	given, err := chartutil.ReadValues([]byte(os.Args[4]))
	check(err)
	values, err := chartutil.ToRenderValues(chart, given, chartutil.ReleaseOptions{Name: os.Args[2], Namespace: os.Args[3], IsInstall: true, Revision: 1}, nil)
	check(err)
	rendered, err := engine.Render(chart, values)
	check(err)
	maps.DeleteFunc(rendered, func(file, _ string) bool { return strings.HasSuffix(file, ".txt") })
	_, objects, err := releaseutil.SortManifests(rendered, chartutil.DefaultVersionSet, releaseutil.InstallOrder)
	check(err)
	for _, object := range objects {
		fmt.Printf("---\n%s\n", object.Content)
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
