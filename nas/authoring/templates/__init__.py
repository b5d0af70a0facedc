"""Layer 5: what `nas plugins new` starts a plugin from: one working plugin a kind, named `my_plugin` and `MyPlugin`."""
