import { clsx } from 'clsx';
import { X } from 'lucide-react';
import { Dialog as Radix } from 'radix-ui';
import { useState, type ReactNode } from 'react';

import { useMessages } from '@/messages/messages';

import { Button } from './button';

const openers = new WeakMap<Element, HTMLElement>();

/**
 * Who gets the focus back: what has it now, or the button of the menu that it is in. A dialog
 * that follows another, which is about to close, gives it to who opened that.
 */
function findOpener(): HTMLElement | null {
  const open = document.querySelector('[role=dialog]');
  const first = open && openers.get(open);
  if (first) return first;
  const active = document.activeElement;
  const button = active?.closest('[role=menu]')?.getAttribute('aria-labelledby');
  if (button) return document.getElementById(button);
  return active instanceof HTMLElement ? active : null;
}

/** Where there is something to fill in, that is what somebody is about to do. */
function focusFirstField(event: Event) {
  if (!(event.target instanceof HTMLElement)) return;
  const field = event.target.querySelector<HTMLElement>(
    'input:not([type=radio]), select, textarea',
  );
  if (!field) return;
  event.preventDefault();
  field.focus();
}

interface DialogProps {
  title: string;
  text?: ReactNode;
  onClose: () => void;
  /** False while closing it by accident would lose something. */
  dismissible?: boolean;
  wide?: boolean;
  children: ReactNode;
}

/**
 * Is open as long as it is rendered. What it covers is our own element and no
 * `Radix.Overlay`, which would add a style sheet, and the page's policy has none.
 */
export function Dialog({
  title,
  text,
  onClose,
  dismissible = true,
  wide = false,
  children,
}: DialogProps) {
  const { actions } = useMessages();
  const [opener] = useState(findOpener);
  const stay = (event: Event) => {
    if (!dismissible) event.preventDefault();
  };
  return (
    <Radix.Root open onOpenChange={(open) => !open && onClose()}>
      <Radix.Portal>
        <div data-covers className="fixed inset-0 z-40 bg-black/45" />
        <Radix.Content
          ref={(content) => {
            if (content && opener) openers.set(content, opener);
          }}
          onOpenAutoFocus={focusFirstField}
          onPointerDownOutside={stay}
          onEscapeKeyDown={stay}
          onCloseAutoFocus={(event) => {
            event.preventDefault();
            opener?.focus();
          }}
          {...(text ? {} : { 'aria-describedby': undefined })}
          className={clsx(
            'fixed inset-x-2 top-1/2 z-50 mx-auto flex max-h-[calc(100dvh-1rem)] -translate-y-1/2 flex-col rounded-xl border border-line bg-surface shadow-2xl outline-none',
            wide ? 'max-w-2xl' : 'max-w-lg',
          )}
        >
          <header className="flex items-start justify-between gap-3 px-5 pt-5">
            <Radix.Title className="text-base font-semibold break-words">{title}</Radix.Title>
            {dismissible && (
              <Radix.Close asChild>
                <Button variant="quiet" size="smallIcon" aria-label={actions.close}>
                  <X />
                </Button>
              </Radix.Close>
            )}
          </header>
          {text && <Radix.Description className="px-5 pt-1 text-muted">{text}</Radix.Description>}
          <div className="min-h-0 overflow-y-auto px-5 pt-4 pb-5">{children}</div>
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  );
}

/** The buttons at a dialog's end, the one that does it last. */
export function DialogActions({ children }: { children: ReactNode }) {
  return <div className="mt-6 flex flex-wrap justify-end gap-2">{children}</div>;
}
