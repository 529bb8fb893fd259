"""The lab: a bare server to practise on and an offline bundle to install it from, made from package registries alone."""
