package env

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ExtenderHost is the name in Gridlatch's certificate by which the shipped configuration of the scheduler knows it.
const ExtenderHost = "gridlatch.gridlatch-system.svc"

// An Extender is agreed on before either side runs: the scheduler of a cluster is configured by what is shipped in
// manifests/components/extender to call Gridlatch at a port, and trusts a CA that Gridlatch is to find in its Secret.
type Extender struct {
	// Port is that of the loopback interface.
	Port int
	// Dir has the CA as tls.crt and tls.key, which can serve for ExtenderHost, too.
	Dir string
	// Config is the path of the scheduler's configuration. It may be edited until the cluster starts.
	Config string
}

// NewExtender makes the files of an extender in dir, which is to exist for as long as the cluster.
func NewExtender(dir string) (*Extender, error) {
	root, err := sourceTree()
	if err != nil {
		return nil, err
	}
	shipped, err := os.ReadFile(filepath.Join(root, "manifests", "components", "extender", "scheduler.yaml"))
	if err != nil {
		return nil, fmt.Errorf("read the scheduler's configuration: %w", err)
	}
	x := &Extender{Dir: dir, Config: filepath.Join(dir, "scheduler.yaml")}
	if x.Port, err = ReservePort(); err != nil {
		return nil, err
	}
	ca, err := WriteCertificate(dir, ExtenderHost)
	if err != nil {
		return nil, err
	}
	text := strings.NewReplacer("CLUSTER_IP:9444", "127.0.0.1:"+strconv.Itoa(x.Port), "CA_DATA", base64.StdEncoding.EncodeToString(ca)).Replace(string(shipped))
	if err := os.WriteFile(x.Config, []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("write the scheduler's configuration: %w", err)
	}
	return x, nil
}

// Flag is what makes Gridlatch answer.
func (x *Extender) Flag() string { return "--extender-bind-address=127.0.0.1:" + strconv.Itoa(x.Port) }

// GiveCA puts the CA into the Secret in which Gridlatch looks for it. Gridlatch must not run yet.
func (c *Cluster) GiveCA(ctx context.Context, x *Extender) error {
	key, err := os.ReadFile(filepath.Join(x.Dir, "tls.key"))
	if err != nil {
		return fmt.Errorf("read key: %w", err)
	}
	ca, err := os.ReadFile(filepath.Join(x.Dir, "tls.crt"))
	if err != nil {
		return fmt.Errorf("read certificate: %w", err)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: Namespace}}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: "gridlatch-ca"}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{corev1.TLSPrivateKeyKey: key, corev1.TLSCertKey: ca, "ca.crt": ca},
	}
	if err := c.Client.Create(ctx, namespace); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create namespace: %w", err)
	}
	err = c.Client.Create(ctx, secret)
	if apierrors.IsAlreadyExists(err) {
		err = errors.New("it is there already")
	}
	if err != nil {
		return fmt.Errorf("create the CA's secret: %w", err)
	}
	return nil
}
