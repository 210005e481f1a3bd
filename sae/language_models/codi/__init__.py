"""CODI models: language models that think in hidden vectors before they answer."""
