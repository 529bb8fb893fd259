// Command render prints a Helm chart's objects, as `helm template` does: render CHART NAME NAMESPACE VALUES-AS-YAML.
package main

import (
	"fmt"
	"log"
	"os"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
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
	var files []string
	for file := range rendered {
		if !strings.HasPrefix(path.Base(file), "_") && path.Ext(file) != ".txt" && strings.TrimSpace(rendered[file]) != "" {
			files = append(files, file)
		}
	}
	slices.Sort(files)
	for _, file := range files {
		fmt.Printf("---\n%s\n", strings.TrimPrefix(strings.TrimSpace(rendered[file]), "---\n"))
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
