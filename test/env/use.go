package env

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

const (
	pollInterval  = 100 * time.Millisecond
	tokenLifetime = 24 * time.Hour
)

// Kubectl runs kubectl as the administrator and returns what it prints. The error has what it says on stderr.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	return c.kubectl(ctx, nil, args)
}

// KubectlInput is Kubectl with something to read, as in KubectlInput(ctx, manifest, "apply", "-f", "-").
func (c *Cluster) KubectlInput(ctx context.Context, stdin string, args ...string) (string, error) {
	return c.kubectl(ctx, strings.NewReader(stdin), args)
}

func (c *Cluster) kubectl(ctx context.Context, stdin io.Reader, args []string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, c.binary, append([]string{"kubectl"}, args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	// What kubectl remembers about a server is kept by its address, which another cluster may have had before.
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig,
		"KUBECACHEDIR="+filepath.Join(filepath.Dir(c.Kubeconfig), "cache"))
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err,
			strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// ServiceAccountConfig connects as a service account that exists, for a day, without a limit on the client's side.
func (c *Cluster) ServiceAccountConfig(ctx context.Context, namespace, name string) (*rest.Config, error) {
	seconds := int64(tokenLifetime / time.Second)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
	if err := c.Client.SubResource("token").Create(ctx, account, request); err != nil {
		return nil, fmt.Errorf("token for service account %s/%s: %w", namespace, name, err)
	}
	config := rest.AnonymousClientConfig(c.Config)
	config.BearerToken = request.Status.Token
	config.QPS = -1
	return config, nil
}

// WriteKubeconfig writes a file that connects as config does, by token or by certificate, readable by the owner only.
func WriteKubeconfig(config *rest.Config, path string) error {
	const name = "gridlatch"
	file := clientcmdapi.NewConfig()
	file.Clusters[name] = &clientcmdapi.Cluster{
		Server:                   config.Host,
		CertificateAuthority:     config.CAFile,
		CertificateAuthorityData: config.CAData,
		TLSServerName:            config.ServerName,
		InsecureSkipTLSVerify:    config.Insecure,
	}
	file.AuthInfos[name] = &clientcmdapi.AuthInfo{
		Token:                 config.BearerToken,
		TokenFile:             config.BearerTokenFile,
		ClientCertificate:     config.CertFile,
		ClientCertificateData: config.CertData,
		ClientKey:             config.KeyFile,
		ClientKeyData:         config.KeyData,
	}
	file.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	file.CurrentContext = name
	if err := clientcmd.WriteToFile(*file, path); err != nil {
		return fmt.Errorf("write kubeconfig: %w", err)
	}
	return nil
}

// Poll calls check ten times a second until it returns nil. When ctx ends first, it returns check's last error.
func Poll(ctx context.Context, check func(context.Context) error) error {
	var last error
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		// What check says after the end is about the end.
		if last == nil || ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), last)
		case <-time.After(pollInterval):
		}
	}
}

// Eventually fails the test if check does not return nil within the timeout. It calls check ten times a second.
func Eventually(t testing.TB, timeout time.Duration, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	if err := Poll(ctx, check); err != nil {
		t.Fatalf("not within %v: %v", timeout, err)
	}
}
