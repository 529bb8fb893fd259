package main

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"strings"

	"github.com/sirupsen/logrus"
)

const encryptionFile = dataDir + "/server/cred/encryption-config.json"

// One provider for Secrets, then plain text for what is older.
const encryptionConfig = `{"kind":"EncryptionConfiguration","apiVersion":"apiserver.config.k8s.io/v1","resources":[{"resources":["secrets"],"providers":[
{"%s":{"keys":[{"name":"%[1]skey","secret":"%s"}]}},{"identity":{}}]}]}`

// keyTypes are the providers, and what K3s calls them.
var keyTypes = map[string]string{"aescbc": "AES-CBC", "secretbox": "XSalsa20-POLY1305"}

// activeProvider is the one that encrypts, none when Secrets are plain text.
func activeProvider() string {
	text, err := os.ReadFile(encryptionFile)
	for provider := range keyTypes {
		if strings.Contains(string(text), `"`+provider+`"`) {
			return provider
		}
	}
	if !os.IsNotExist(err) {
		logrus.Fatalf("%s: no provider in it (%v)", encryptionFile, err)
	}
	return ""
}

// ensureEncryption makes the key on first use and tells whether Secrets are encrypted. What exists is kept, as in K3s: only rotate-keys changes it.
func (s *server) ensureEncryption() bool {
	active, wanted := activeProvider(), s.config.Value("secrets-encryption-provider")
	if active != "" {
		if active != wanted {
			logrus.Warnf("secrets-encryption-provider stays %s: a change to %s needs rotate-keys", active, wanted)
		}
		return true
	}
	if !s.config.On("secrets-encryption") {
		return false
	}
	if keyTypes[wanted] == "" {
		logrus.Fatalf("secrets-encryption-provider: unsupported value %q", wanted)
	}
	key := make([]byte, 32)
	rand.Read(key)
	replaceFile(encryptionFile, fmt.Appendf(nil, encryptionConfig, wanted, base64.StdEncoding.EncodeToString(key)), 0o600)
	return true
}

func secretsEncrypt(args []string) {
	if strings.Join(args, " ") != "status" {
		logrus.Fatal("secrets-encrypt: the lab stand-in has only status")
	}
	active := activeProvider()
	if active == "" {
		fmt.Println("Encryption Status: Disabled, no configuration file found")
		return
	}
	fmt.Print("Encryption Status: Enabled\nCurrent Rotation Stage: start\nServer Encryption Hashes: All hashes match\n\n")
	fmt.Printf("Active  Key Type           Name\n------  --------           ----\n *      %-17s  %skey\n", keyTypes[active], active)
}
