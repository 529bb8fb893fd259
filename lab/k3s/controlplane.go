package main

import "path/filepath"

const kineSocket = "unix:///run/k3s/kine.sock"

// startAPI starts the datastore and the API server.
func (s *server) startAPI() {
	database := filepath.Join(dataDir, "server/db/state.db")
	s.component("kine", "--endpoint=sqlite://"+database+"?_journal=WAL&cache=shared&_busy_timeout=30000&_txlock=immediate",
		"--listen-address="+kineSocket, "--metrics-bind-address=0")
	args := []string{
		"--etcd-servers=" + kineSocket, "--secure-port=6443", "--advertise-address=" + s.advertised, "--allow-privileged=true", "--anonymous-auth=false",
		"--profiling=false", "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--enable-aggregator-routing=true",
		"--tls-cert-file=" + certificates.Path("serving-kube-apiserver.crt"), "--tls-private-key-file=" + certificates.Path("serving-kube-apiserver.key"),
		"--kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname", // as K3s has it: a node's name need not resolve
		"--client-ca-file=" + certificates.Path("client-ca.crt"), "--kubelet-certificate-authority=" + certificates.Path("server-ca.crt"),
		"--kubelet-client-certificate=" + certificates.Path("client-kube-apiserver.crt"), "--kubelet-client-key=" + certificates.Path("client-kube-apiserver.key"),
		"--requestheader-client-ca-file=" + certificates.Path("request-header-ca.crt"), "--requestheader-allowed-names=system:auth-proxy",
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group", "--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + certificates.Path("client-auth-proxy.crt"), "--proxy-client-key-file=" + certificates.Path("client-auth-proxy.key"),
		"--service-account-key-file=" + certificates.Path("service.key"), "--service-account-signing-key-file=" + certificates.Path("service.key"),
		"--service-account-issuer=https://kubernetes.default.svc." + s.config.Value("cluster-domain"),
		"--service-cluster-ip-range=" + s.config.Value("service-cidr"), "--service-node-port-range=" + s.config.Value("service-node-port-range"),
	}
	if s.ensureEncryption() {
		args = append(args, "--encryption-provider-config="+encryptionFile)
	}
	s.component("kube-apiserver", args...)
}

func (s *server) startControllers() {
	s.component("kube-controller-manager", "--kubeconfig="+kubeconfigOf("controller"), "--use-service-account-credentials=true",
		"--service-account-private-key-file="+certificates.Path("service.key"), "--root-ca-file="+certificates.Path("server-ca.crt"),
		"--cluster-signing-cert-file="+certificates.Path("client-ca.crt"), "--cluster-signing-key-file="+certificates.Path("client-ca.key"),
		"--allocate-node-cidrs=true", "--cluster-cidr="+s.clusterCIDR.String(), "--leader-elect=false", "--profiling=false", "--bind-address=127.0.0.1")
	s.component("kube-scheduler", "--kubeconfig="+kubeconfigOf("scheduler"), "--leader-elect=false", "--profiling=false", "--bind-address=127.0.0.1")
}
