import { Check, Copy } from 'lucide-react';
import { useEffect, useState } from 'react';

import { useMessages } from '@/messages/messages';

import { Button } from './button';

/** Copies a text, and says that it has. */
export function CopyButton({ text, label }: { text: string; label: string }) {
  const { actions } = useMessages();
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return;
    const timer = setTimeout(() => setCopied(false), 2000);
    return () => clearTimeout(timer);
  }, [copied]);
  return (
    <Button
      size="small"
      aria-label={label}
      onClick={() => void navigator.clipboard.writeText(text).then(() => setCopied(true))}
    >
      {copied ? <Check /> : <Copy />}
      <span aria-live="polite">{copied ? actions.copied : actions.copy}</span>
    </Button>
  );
}

/** Lines to copy. All of them can be seen and selected without the button, too. */
export function CodeBlock({ code, label }: { code: string; label: string }) {
  return (
    <div className="flex items-start gap-2 rounded-lg border border-line bg-sunken p-2">
      <pre className="min-w-0 flex-1 px-1 py-1 font-mono text-xs leading-relaxed break-all whitespace-pre-wrap select-all">
        {code}
      </pre>
      <CopyButton text={code} label={label} />
    </div>
  );
}
