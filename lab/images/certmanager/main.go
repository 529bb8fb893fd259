// Command cert-manager starts upstream's cert-manager components from its library, as its own commands are not served as modules.
// It takes the flags of upstream's release manifest; a flag that has no effect here is named in the log.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	admissionreg "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/klog/v2"
	apireg "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	apiext "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/cert-manager/cert-manager/internal/webhook"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/cert-manager/cert-manager/pkg/controller"
	_ "github.com/cert-manager/cert-manager/pkg/controller/acmechallenges"
	_ "github.com/cert-manager/cert-manager/pkg/controller/acmeorders"
	"github.com/cert-manager/cert-manager/pkg/controller/cainjector"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificate-shim/ingresses"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/acme"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/approver"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/ca"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/selfsigned"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/issuing"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/keymanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/readiness"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/requestmanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/revisionmanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/trigger"
	_ "github.com/cert-manager/cert-manager/pkg/controller/clusterissuers"
	_ "github.com/cert-manager/cert-manager/pkg/controller/issuers"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/acme"
	"github.com/cert-manager/cert-manager/pkg/issuer/acme/http/solver"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/ca"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/selfsigned"
	logf "github.com/cert-manager/cert-manager/pkg/logs"
	"github.com/cert-manager/cert-manager/pkg/webhook/options"
)

const healthzAddress = ":9403"

func main() {
	components := map[string]func(context.Context, []string) error{
		"controller": runController, "webhook": runWebhook, "cainjector": runInjector, "acmesolver": runSolver,
	}
	if len(os.Args) < 2 || components[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: cert-manager controller|webhook|cainjector|acmesolver FLAGS")
		os.Exit(2)
	}
	ctrl.SetLogger(klog.Background())
	ctx, stop := signal.NotifyContext(logf.NewContext(context.Background(), klog.Background()), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := components[os.Args[1]](ctx, os.Args[2:]); err != nil && !errors.Is(err, http.ErrServerClosed) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// parse accepts every flag; those of fs take effect.
func parse(fs *pflag.FlagSet, args []string) error {
	for _, a := range args {
		if name, _, _ := strings.Cut(strings.TrimLeft(a, "-"), "="); strings.HasPrefix(a, "--") && fs.Lookup(name) == nil {
			klog.Infof("--%s has no effect in the lab", name)
		}
	}
	fs.ParseErrorsAllowlist.UnknownFlags = true
	return fs.Parse(args)
}

func runController(ctx context.Context, args []string) error {
	fs := pflag.NewFlagSet("controller", pflag.ContinueOnError)
	namespace := fs.String("cluster-resource-namespace", "kube-system", "where ClusterIssuers keep their Secrets")
	image := fs.String("acme-http01-solver-image", "", "the image that answers HTTP-01 challenges")
	most := fs.Int("max-concurrent-challenges", 60, "challenges at once")
	solverResources := map[string]*string{}
	for name, usual := range map[string]string{"request-cpu": "10m", "request-memory": "64Mi", "limits-cpu": "100m", "limits-memory": "64Mi"} {
		solverResources[name] = fs.String("acme-http01-solver-resource-"+name, usual, "the solver's "+name)
	}
	if err := parse(fs, args); err != nil {
		return err
	}
	factory, err := controller.NewContextFactory(ctx, controller.ContextOptions{
		IssuerOptions: controller.IssuerOptions{ClusterResourceNamespace: *namespace, ClusterIssuerAmbientCredentials: true},
		ACMEOptions: controller.ACMEOptions{
			HTTP01SolverImage:                 *image,
			HTTP01SolverResourceRequestCPU:    resource.MustParse(*solverResources["request-cpu"]),
			HTTP01SolverResourceRequestMemory: resource.MustParse(*solverResources["request-memory"]),
			HTTP01SolverResourceLimitsCPU:     resource.MustParse(*solverResources["limits-cpu"]),
			HTTP01SolverResourceLimitsMemory:  resource.MustParse(*solverResources["limits-memory"]),
			ACMEHTTP01SolverRunAsNonRoot:      true,
			DNS01CheckRetryPeriod:             10 * time.Second,
		},
		CertificateOptions: controller.CertificateOptions{
			CertificateRequestMinimumBackoffDuration: time.Hour, CertificateRequestMaximumBackoffDuration: 32 * time.Hour,
		},
		SchedulerOptions: controller.SchedulerOptions{MaxConcurrentChallenges: *most},
	})
	if err != nil {
		return err
	}
	failed := make(chan error, 64)
	for name, build := range controller.Known() {
		c, err := build(factory)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		go func() { failed <- c.Run(5, ctx) }()
	}
	root, err := factory.Build()
	if err != nil {
		return err
	}
	root.SharedInformerFactory.Start(ctx.Done())
	root.KubeSharedInformerFactory.Start(ctx.Done())
	root.HTTP01ResourceMetadataInformersFactory.Start(ctx.Done())
	http.HandleFunc("/livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	go func() { failed <- http.ListenAndServe(healthzAddress, nil) }()
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

func runWebhook(ctx context.Context, args []string) error {
	configuration, err := options.NewWebhookConfiguration()
	if err != nil {
		return err
	}
	fs := pflag.NewFlagSet("webhook", pflag.ContinueOnError)
	options.AddConfigFlags(fs, configuration)
	if err := parse(fs, args); err != nil {
		return err
	}
	configuration.MetricsListenAddress = "0"
	s, err := webhook.NewCertManagerWebhookServer(klog.Background(), *configuration)
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

func runInjector(ctx context.Context, args []string) error {
	fs := pflag.NewFlagSet("cainjector", pflag.ContinueOnError)
	if err := parse(fs, args); err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientscheme.AddToScheme, cmapi.AddToScheme, apiext.AddToScheme, apireg.AddToScheme, admissionreg.AddToScheme} {
		utilruntime.Must(add(scheme))
	}
	configuration, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	configuration.UserAgent = "cert-manager-cainjector/lab" // what comes before the slash becomes the field manager
	manager, err := ctrl.NewManager(configuration, ctrl.Options{Scheme: scheme, Metrics: server.Options{BindAddress: "0"}})
	if err != nil {
		return err
	}
	enabled := map[string]bool{"mutatingwebhookconfiguration": true, "validatingwebhookconfiguration": true, "apiservice": true, "customresourcedefinition": true}
	setup := cainjector.SetupOptions{EnableCertificatesDataSource: true, EnabledReconcilersFor: enabled}
	if err := cainjector.RegisterAllInjectors(ctx, manager, setup); err != nil {
		return err
	}
	return manager.Start(ctx)
}

func runSolver(ctx context.Context, args []string) error {
	s := &solver.HTTP01Solver{}
	fs := pflag.NewFlagSet("acmesolver", pflag.ContinueOnError)
	fs.IntVar(&s.ListenPort, "listen-port", 8089, "where challenges are answered")
	fs.StringVar(&s.Domain, "domain", "", "the domain that is validated")
	fs.StringVar(&s.Token, "token", "", "the challenge's token")
	fs.StringVar(&s.Key, "key", "", "the answer")
	if err := parse(fs, args); err != nil {
		return err
	}
	go func() { <-ctx.Done(); _ = s.Close() }()
	return s.Listen(klog.Background())
}
