"""What others trained, made into tasks: adapters of PEFT, classifiers of transformers."""
