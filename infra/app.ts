/** What the `cdk` command runs (cdk.json); context variables come from it. */
import { createApp } from './stacks.ts';

createApp();
