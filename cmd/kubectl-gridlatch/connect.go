package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"
	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/gating"
)

// A connection says which cluster is meant, by kubectl's own flags.
type connection struct {
	kubeconfig string
	overrides  clientcmd.ConfigOverrides
	system     string // the controller's namespace
}

// bind adds kubectl's flags; help shows those that are used every day.
func (c *connection) bind(flags *pflag.FlagSet) {
	names := clientcmd.RecommendedConfigOverrideFlags("")
	names.ContextOverrideFlags.Namespace.Description = "namespace (default: that of the kubeconfig's context)"
	names.CurrentContext.Description = "context of the kubeconfig"
	usual := pflag.NewFlagSet("", pflag.ContinueOnError)
	clientcmd.BindOverrideFlags(&c.overrides, usual, names)
	usual.VisitAll(func(flag *pflag.Flag) {
		flag.Hidden = flag.Name != clientcmd.FlagNamespace && flag.Name != clientcmd.FlagContext
		flags.AddFlag(flag)
	})
	flags.StringVar(&c.kubeconfig, "kubeconfig", "", "kubeconfig file; the other flags by which kubectl finds a cluster work, too")
	c.bindSystem(flags)
}

func (c *connection) bindSystem(flags *pflag.FlagSet) {
	flags.StringVar(&c.system, "gridlatch-namespace", "gridlatch-system", "namespace of Gridlatch, where it saves what it has learned")
}

func findCluster(c connection) (*rest.Config, string, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = c.kubeconfig
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &c.overrides)
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, "", err
	}
	namespace, _, err := loader.Namespace()
	return config, namespace, err
}

// dial makes a client without a limit of its own: the API server's fairness decides.
func dial(config *rest.Config) (client.Client, error) {
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	return client.New(config, client.Options{Scheme: scheme})
}

func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	err := errors.Join(corev1.AddToScheme(scheme), batchv1.AddToScheme(scheme), coordinationv1.AddToScheme(scheme), v1alpha1.AddToScheme(scheme))
	if err != nil {
		return nil, fmt.Errorf("build scheme: %w", err)
	}
	return scheme, nil
}

// A cluster is what the commands talk to.
type cluster struct {
	client.Client
	namespace string // to look in, where none is named
	system    string // of the controller
	now       time.Time
}

func (e env) connect(c connection) (*cluster, error) {
	config, namespace, err := e.cluster(c)
	if err != nil {
		return nil, fmt.Errorf("find the cluster: %w", err)
	}
	config.WarningHandler = rest.NewWarningWriter(e.stderr.Lines(), rest.WarningWriterOptions{Deduplicate: true})
	api, err := e.dial(config)
	if err != nil {
		return nil, fmt.Errorf("connect to the cluster: %w", err)
	}
	return &cluster{Client: api, namespace: namespace, system: c.system, now: e.now().UTC().Truncate(time.Second)}, nil
}

// outlook is what can be known of a policy's grid from outside the controller.
type outlook struct {
	policy   *gating.Policy
	book     *forecast.Snapshot // nil if the forecast cannot be read
	learned  bool               // the prediction is the controller's
	warnings []string
}

// look reads a policy, its forecast and what the controller has learned of it.
func (c *cluster) look(ctx context.Context, name string) (*outlook, error) {
	o := &outlook{}
	warn := func(text string) { o.warnings = append(o.warnings, text) }
	reader := &edited{Reader: c, edit: func(*v1alpha1.CarbonPolicySpec) {}, warn: func(string) {}}
	var err error
	if o.policy, err = (gating.Policies{Reader: reader, Clock: at(c.now), Nodes: &gating.Nodes{Reader: c}}).Get(ctx, name); err != nil {
		return nil, refused(err)
	}
	for _, problem := range o.policy.Problems {
		warn("CarbonPolicy " + o.policy.Name + ": " + problem)
	}
	book, restored, err := c.readBook(ctx, o.policy.Source, c.now, warn)
	if err != nil {
		warn(err.Error())
		return o, nil
	}
	if doubt := book.Doubt(); doubt != "" {
		warn("ConfigMap " + o.policy.Source.String() + ": " + doubt)
	}
	o.learned, o.book = restored > 0, book
	return o, nil
}

// refused says of policies that the user may not read what to ask for; any other error it leaves as it is.
func refused(err error) error {
	if apierrors.IsForbidden(err) {
		return fmt.Errorf("CarbonPolicies may not be read by you: ask for the ClusterRole gridlatch-view (%w)", err)
	}
	return err
}
